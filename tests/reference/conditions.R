# Table of therapist-offered conditions and social influence, from the rows of clients: base R and metafor.
# Usage: Rscript conditions.R <folder with clients.csv, scores.csv, sites.csv>; prints JSON: number by row and name.
suppressMessages({library(metafor); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
clients <- read.csv(file.path(folder, "clients.csv")); scores <- read.csv(file.path(folder, "scores.csv"))
designs <- read.csv(file.path(folder, "sites.csv")); least <- 10; bound <- .1; level <- .975
variables <- list(empathy = c("care", "total", "client"), regard = c("blri_os64", "regard", "client"), expertness = c("crf_s", "expertness", "client"))
home <- c(empathy = "session_1", regard = "session_1", expertness = "session_3")
found <- list()
put <- function(site, key, type, estimate, se, df, n, group = "") {
  r <- type %in% c("correlation", "partial_correlation", "semipartial_correlation")
  y <- if (r) atanh(estimate) else estimate
  ends <- y + c(-1, 1) * qt(level, df) * se
  if (r) ends <- tanh(ends)
  name <- paste(c(site, key, type), collapse = "|")
  row <- list(site = site, key = key, type = type, estimate = estimate, se = se, low = ends[1], high = ends[2], n = n, y = y)
  if (type == "correlation_contrast") row$p <- max(pt((estimate + bound) / se, df, lower.tail = FALSE), pt((estimate - bound) / se, df))
  found[[name]] <<- row
  if (type == "semipartial_correlation") {
    squares <- range(ends^2); if (prod(ends) <= 0) squares[1] <- 0
    found[[sub("semipartial_correlation", "r_squared_change", name)]] <<- list(site = site, key = key, type = "r_squared_change",
      estimate = estimate^2, low = squares[1], high = squares[2], n = n)
  }
}
left <- function(y, controls) if (ncol(controls)) resid(lm.fit(cbind(1, controls), y)) else y
r_of <- function(x, y, controls = matrix(0, length(x), 0)) cor(left(x, controls), left(y, controls))
# Leave out each therapist in turn, or each client where there are fewer than five therapists.
jack <- function(d, f) {
  groups <- unique(d$therapist); by <- if (length(groups) < 5) seq_len(nrow(d)) else d$therapist
  values <- sapply(unique(by), function(g) f(d[by != g, , drop = FALSE])); values <- matrix(values, ncol = length(unique(by)))
  G <- ncol(values)
  list(value = f(d), se = sqrt((G - 1) / G * rowSums((values - rowMeans(values))^2)), df = if (length(groups) < 5) Inf else G - 1, few = length(groups) < 5, n = nrow(d))
}
natural <- function(j, i) j$se[i] / (1 - j$value[i]^2)
held <- function(d, form) as.matrix(if (form == "ancova") d["c"] else d[0])
type_of <- c(ancova = "partial_correlation", zero_order = "correlation")
columns <- function(d, names, form) { need <- c(names, "y", if (form == "ancova") "c"); d[complete.cases(d[need]), ] }
share <- list()

for (site in designs$site) {
  own <- clients[clients$site == site, ]; rows <- scores[scores$site == site, ]
  visits <- unique(rows[rows$timepoint == "session", c("client", "session")]); visits <- visits[order(visits$client, visits$session), ]
  visits$position <- ave(visits$session, visits$client, FUN = seq_along); visits$total <- ave(visits$session, visits$client, FUN = length)
  inside <- function(r, window) {
    if (window %in% c("session_1", "session_3", "early")) {
      limits <- list(session_1 = c(1, 1), session_3 = c(3, 3), early = c(1, 5))[[window]]
      return(r$session >= limits[1] & r$session <= limits[2])
    }
    at <- match(paste(r$client, r$session), paste(visits$client, visits$session))
    middle <- (visits$position[at] - .5) / visits$total[at]
    if (window == "late") visits$position[at] > visits$total[at] - 3 else middle >= .33 & middle <= .67
  }
  at <- function(time) { r <- rows[rows$timepoint == time, ]; r[match(own$client, r$client), ] }
  post <- at("post"); d <- data.frame(therapist = own$therapist, treatment = own$treatment, y = -post$score, c = -at("intake")$score)
  rating <- function(measure, window, all = FALSE) {
    r <- rows[rows$instrument == measure[1] & rows$scale == measure[2] & rows$rater == measure[3] & rows$timepoint == "session", ]
    r <- r[inside(r, window), ]; if (!nrow(r)) return(NULL)
    pick <- function(f, column) as.numeric(tapply(r[[column]], r$client, f))[match(own$client, sort(unique(r$client)))]
    value <- pick(mean, "score"); day <- pick(max, "day")
    if (all) value else ifelse(!is.na(day) & !is.na(post$day) & day > post$day, NA, value)
  }
  share[[site]] <- mean(own$treatment == "cbt")
  for (name in names(variables)) {
    measure <- variables[[name]]; x <- rating(measure, home[name]); if (is.null(x)) next
    d$x <- x
    for (form in names(type_of)) {
      one <- columns(d, "x", form); r <- r_of(one$x, one$y, held(one, form)); few <- length(unique(one$therapist)) < 5
      z <- jack(one, function(s) atanh(r_of(s$x, s$y, held(s, form))))
      put(site, c("outcome", name, "client", home[name], form), type_of[form], r, if (few) 1 / sqrt(nrow(one) - 3 - (form == "ancova")) else z$se, z$df, nrow(one))
    }
    one <- columns(d, "x", "ancova"); sizes <- table(one$treatment)
    if (all(sizes[c("cbt", "pdt")] >= least, na.rm = FALSE) && length(sizes) == 2) {
      both <- jack(one, function(s) { r <- sapply(c("cbt", "pdt"), function(g) { q <- s[s$treatment == g, ]; r_of(q$x, q$y, held(q, "ancova")) }); c(r, r[1] - r[2]) })
      key <- c("modality", name, "client", home[name], "ancova", "cbt - pdt")
      for (i in 1:2) put(site, c(key, c("cbt", "pdt")[i]), "partial_correlation", both$value[i], natural(both, i), both$df, sizes[[c("cbt", "pdt")[i]]])
      put(site, c(key, "cbt - pdt"), "correlation_contrast", both$value[3], both$se[3], both$df, both$n)
    }
    d$v <- rating(measure, "early"); d$a <- rating(c("wai_36", "total", "client"), "early")
    pair <- paste("alliance and", name); contrast <- paste("alliance -", name)
    for (form in names(type_of)) {
      one <- columns(d, c("a", "v"), form)
      two <- jack(one, function(s) { r <- c(r_of(s$a, s$y, held(s, form)), r_of(s$v, s$y, held(s, form))); c(r, r[1] - r[2]) })
      for (i in 1:2) put(site, c("beside_alliance", c("alliance", name)[i], "client", "early", form, pair), type_of[form], two$value[i], natural(two, i), two$df, two$n)
      put(site, c("beside_alliance", name, "client", "early", form, pair, contrast), "correlation_contrast", two$value[3], two$se[3], two$df, two$n)
    }
    one <- columns(d, c("a", "v"), "ancova")
    joint <- jack(one, function(s) {
      z <- as.data.frame(scale(s[c("y", "a", "v", "c")])); b <- coef(lm(y ~ a + v + c, z))[c("a", "v")]
      c(b, b[1] - b[2], cor(z$y, resid(lm(a ~ v + c, z))), cor(z$y, resid(lm(v ~ a + c, z))))
    })
    given <- c(paste("alliance given", name), paste(name, "given alliance")); who <- c("alliance", name)
    for (i in 1:2) {
      key <- c("beside_alliance", who[i], "client", "early", "ancova", pair, given[i])
      put(site, key, "slope_standardised", joint$value[i], joint$se[i], joint$df, joint$n)
      put(site, key, "semipartial_correlation", joint$value[i + 3], joint$se[i + 3] / (1 - joint$value[i + 3]^2), joint$df, joint$n)
    }
    put(site, c("beside_alliance", name, "client", "early", "ancova", pair, contrast), "slope_contrast", joint$value[3], joint$se[3], joint$df, joint$n)
  }
  d$p <- rating(variables$empathy, "early"); d$o <- rating(c("blri_empathy16", "total", "observer"), "early")
  if (!is.null(d$o)) for (form in names(type_of)) {
    one <- columns(d, c("p", "o"), form)
    two <- jack(one, function(s) { r <- c(r_of(s$p, s$y, held(s, form)), r_of(s$o, s$y, held(s, form))); c(r, r[1] - r[2]) })
    for (i in 1:2) put(site, c("raters", "empathy", c("client", "observer")[i], "early", form, "client and observer"), type_of[form], two$value[i], natural(two, i), two$df, two$n)
    put(site, c("raters", "empathy", "client and observer", "early", form, "client and observer", "client - observer"), "correlation_contrast", two$value[3], two$se[3], two$df, two$n)
  }
  e <- lapply(c(early = "early", middle = "middle", late = "late"), function(w) rating(variables$empathy, w, TRUE))
  a <- lapply(c(early = "early", middle = "middle", late = "late"), function(w) rating(c("wai_36", "total", "client"), w, TRUE))
  d$y <- NULL
  phase <- function(names, key) {
    one <- data.frame(therapist = own$therapist, e = as.data.frame(e[names]), a = as.data.frame(a[names])); one <- one[complete.cases(one), ]; k <- length(names)
    j <- jack(one, function(s) { r <- sapply(seq_len(k), function(i) cor(s[[1 + i]], s[[1 + k + i]])); if (k == 2) c(r, r[1] - r[2]) else r })
    for (i in seq_len(k)) put(site, c("phase", "empathy", "client", names[i], "zero_order", key), "correlation", j$value[i], natural(j, i), j$df, j$n)
    if (k == 2) put(site, c("phase", "empathy", "client", "zero_order", key, paste(names, collapse = " - ")), "correlation_contrast", j$value[3], j$se[3], j$df, j$n)
  }
  for (name in names(e)) phase(name, NULL)
  phase(c("early", "late"), "early and late"); phase(c("early", "middle"), "early and middle")
}

# Over sites: REML with Hartung-Knapp errors, never smaller than the classic ones.
rma_of <- function(...) rma.uni(..., method = "REML", test = "adhoc", control = list(threshold = 1e-14, maxiter = 10000))
strip <- function(row) paste(c(row$key, row$type), collapse = "|")
pooled <- list(); by_key <- split(found, sapply(found, strip))
for (key in names(by_key)) {
  rows <- by_key[[key]]; if (length(rows) < 2 || rows[[1]]$type == "r_squared_change") next
  y <- sapply(rows, `[[`, "y"); se <- sapply(rows, `[[`, "se"); fit <- rma_of(y, sei = se); type <- rows[[1]]$type
  back <- if (type %in% c("correlation", "partial_correlation", "semipartial_correlation")) tanh else identity
  ends <- back(c(fit$ci.lb, fit$ci.ub)); row <- list(estimate = back(c(fit$beta)), se = fit$se, low = ends[1], high = ends[2], tau2 = fit$tau2, k = fit$k)
  if (type == "correlation_contrast") row$p <- max(pt((row$estimate + bound) / fit$se, fit$k - 1, lower.tail = FALSE), pt((row$estimate - bound) / fit$se, fit$k - 1))
  pooled[[key]] <- row
  if (type == "semipartial_correlation") {
    squares <- range(ends^2); if (prod(ends) <= 0) squares[1] <- 0
    pooled[[sub("semipartial_correlation", "r_squared_change", key)]] <- list(estimate = row$estimate^2, low = squares[1], high = squares[2], k = fit$k)
  }
}
slopes <- list()
for (name in names(variables)) {
  rows <- by_key[[paste("outcome", name, "client", home[name], "ancova", "partial_correlation", sep = "|")]]
  y <- sapply(rows, `[[`, "y"); se <- sapply(rows, `[[`, "se"); site <- sapply(rows, `[[`, "site")
  tell <- function(x) {
    fit <- rma_of(y, sei = se, mods = x)
    list(estimate = fit$beta[2], se = fit$se[2], low = fit$ci.lb[2], high = fit$ci.ub[2], tau2 = fit$tau2, k = fit$k)
  }
  slopes[[paste0("modality|", name)]] <- tell(unlist(share[site]))
  if (name == "expertness") {
    design <- designs$design[match(site, designs$site)]; slopes[["setting"]] <- tell(as.numeric(design == "analog"))
    for (kind in c("clinical", "analogue")) {
      use <- (design == "analog") == (kind == "analogue"); fit <- rma_of(y[use], sei = se[use])
      pooled[[paste0("setting|", kind)]] <- list(estimate = tanh(c(fit$beta)), se = fit$se, low = tanh(fit$ci.lb), high = tanh(fit$ci.ub), tau2 = fit$tau2, k = fit$k)
    }
  }
}
sites <- lapply(found, function(row) row[setdiff(names(row), c("key", "type", "site", "y"))])
cat(toJSON(list(sites = sites, pooled = pooled, slopes = slopes), auto_unbox = TRUE, digits = NA), "\n")
