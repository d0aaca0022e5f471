# Tables of alliance and outcome, and of early gains, from the rows of clients: base R, metafor, clubSandwich, lme4, lmerTest.
# Usage: Rscript alliance_outcome.R <folder with clients.csv, scores.csv, settings.json>; prints JSON.
suppressMessages({library(metafor); library(clubSandwich); library(lme4); library(lmerTest); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
clients <- read.csv(file.path(folder, "clients.csv")); scores <- read.csv(file.path(folder, "scores.csv"))
settings <- fromJSON(file.path(folder, "settings.json"))
sites <- sort(unique(clients$site)); forms <- c("ancova", "zero_order", "residual_gain", "change")
raters <- c("client", "therapist"); windows <- c("session_3", "early", "middle", "late", "all"); outcomes <- c("core_10", "ors", "target_complaints", "scl_90_r")
worse <- c("core_10", "target_complaints", "scl_90_r"); least <- 10
result <- list()

# Measures of one site, a value a client.
of_site <- function(site) {
  own <- clients[clients$site == site, ]; rows <- scores[scores$site == site, ]
  visits <- unique(rows[rows$timepoint == "session", c("client", "session")]); visits <- visits[order(visits$client, visits$session), ]
  visits$position <- ave(visits$session, visits$client, FUN = seq_along); visits$total <- ave(visits$session, visits$client, FUN = length)
  list(name = site, own = own, rows = rows, visits = visits,
       therapist = ifelse(is.na(own$therapist), paste("alone", own$client), paste("t", own$therapist)))
}
inside <- function(rows, window, visits) {
  if (window %in% c("session_3", "early", "all")) {
    limits <- list(session_3 = c(3, 3), early = c(1, 5), all = c(1, 999))[[window]]
    return(rows$session >= limits[1] & rows$session <= limits[2])
  }
  at <- match(paste(rows$client, rows$session), paste(visits$client, visits$session))
  share <- (visits$position[at] - .5) / visits$total[at]
  if (window == "late") visits$position[at] > visits$total[at] - 3 else share >= .33 & share <= .67
}
alliance <- function(s, rater, window, equal = NULL) {
  for (form in c("wai_36", "haq_2")) {
    rows <- s$rows[s$rows$instrument == form & s$rows$rater == rater & s$rows$timepoint == "session", ]
    rows <- rows[inside(rows, window, s$visits), ]; rows <- rows[order(rows$client, rows$session), ]
    if (!nrow(rows)) next
    if (!is.null(equal)) rows <- do.call(rbind, lapply(split(rows, rows$client), function(r)
      if (nrow(r) >= equal) r[floor((seq_len(equal) - .5) / equal * nrow(r)) + 1, ]))
    pick <- function(f, column) as.numeric(tapply(rows[[column]], rows$client, f))[match(s$own$client, sort(unique(rows$client)))]
    return(list(value = pick(mean, "score"), day = pick(max, "day"), n = pick(length, "day")))
  }
  NULL
}
outcome <- function(s, instrument, rater) {
  at <- function(time) {
    rows <- s$rows[s$rows$instrument == instrument & s$rows$rater == rater & s$rows$timepoint == time, ]
    list(value = (if (instrument %in% worse) -1 else 1) * rows$score[match(s$own$client, rows$client)], day = rows$day[match(s$own$client, rows$client)])
  }
  post <- at("post"); if (all(is.na(post$value))) return(NULL)
  list(post = post$value, day = post$day, intake = at("intake")$value)
}
preferred <- function(s, rater) { found <- outcome(s, "core_10", rater); if (is.null(found)) outcome(s, "ors", rater) else found }
usable <- function(a, o) ifelse(!is.na(a$day) & !is.na(o$day) & a$day > o$day, NA, a$value)

# r of one form; left() is what a linear model leaves of a variable.
left <- function(y, ..., w = rep(1, length(y))) { X <- cbind(1, ...); y - c(X %*% lm.wfit(X, y, w)$coefficients) }
correlate <- function(x, y, w) cov.wt(cbind(x, y), wt = w / sum(w), cor = TRUE)$cor[1, 2]
r_of <- function(d, form, w = rep(1, nrow(d))) switch(form,
  ancova = correlate(left(d$x, d$c, w = w), left(d$y, d$c, w = w), w), zero_order = correlate(d$x, d$y, w),
  residual_gain = correlate(d$x, left(d$y, d$c, w = w), w), change = correlate(d$x, d$y - d$c, w))
complete <- function(d, form) { needed <- if (form == "zero_order") c("x", "y") else c("x", "y", "c"); d[complete.cases(d[needed]), ] }
effect <- function(d, form) {
  d <- complete(d, form); n <- nrow(d)
  if (n < least) return(NULL)
  z <- atanh(r_of(d, form)); groups <- unique(d$t)
  if (length(groups) >= 5) {
    without <- sapply(groups, function(g) atanh(r_of(d[d$t != g, ], form)))
    share <- setNames((without - mean(without)) * sqrt((length(groups) - 1) / length(groups)), groups)
    return(list(r = tanh(z), n = n, v = sum(share^2), share = share))
  }
  influence <- sapply(seq_len(n), function(i) {
    moved <- function(by) { w <- rep(1, n); w[i] <- w[i] + by; atanh(r_of(d, form, w)) }
    (moved(1e-4) - moved(-1e-4)) / 2e-4
  })
  v <- switch(form, ancova = 1 / (n - 4), residual_gain = sum(influence^2) * n / (n - 1), 1 / (n - 3))
  list(r = tanh(z), n = n, v = v, share = setNames(influence / sqrt(sum(influence^2)) * sqrt(v), paste("client", d$client)))
}
together <- function(s, x, o) data.frame(x = x, y = o$post, c = o$intake, t = s$therapist, client = s$own$client)
meta <- function(y, v, ...) rma.uni(y, v, method = "REML", test = "adhoc", control = list(threshold = 1e-14, maxiter = 10000), ...)
pooled <- function(y, v, back = identity) {
  fit <- meta(y, v); between <- confint(fit, control = list(tol = 1e-12, maxiter = 10000, tau2.max = 1e5))$random; new <- predict(fit)
  list(estimate = back(c(fit$beta)), std_error = fit$se, ci_low = back(fit$ci.lb), ci_high = back(fit$ci.ub), tau2 = fit$tau2,
       tau2_low = between[1, 2], tau2_high = between[1, 3], i2 = fit$I2 / 100, q = fit$QE, prediction_low = back(new$pi.lb),
       prediction_high = back(new$pi.ub), n_sites = fit$k)
}
of_sites <- lapply(setNames(sites, sites), of_site)

# Effects of the preferred measures.
headline <- NULL
for (rater in raters) for (window in windows) for (rated in raters) for (form in forms) {
  key <- paste(rater, window, rated, form, sep = "/"); found <- list()
  for (s in of_sites) {
    a <- alliance(s, rater, window); o <- preferred(s, rated)
    if (is.null(a) || is.null(o)) next
    found[[s$name]] <- effect(together(s, usable(a, o), o), form)
  }
  if (!length(found)) next
  y <- sapply(found, function(e) atanh(e$r)); v <- sapply(found, function(e) e$v)
  result$effects[[key]]$sites <- lapply(found, function(e) list(estimate = e$r, std_error = sqrt(e$v), n_clients = e$n))
  if (length(found) > 1) result$effects[[key]]$pooled <- pooled(y, v, tanh)
  if (key == "client/early/client/ancova") headline <- list(y = y, v = v, n = sapply(found, function(e) e$n))
}

# All outcomes at once.
every <- list()
for (s in of_sites) for (instrument in outcomes) for (rated in raters) {
  o <- outcome(s, instrument, rated); if (is.null(o)) next
  e <- effect(together(s, usable(alliance(s, "client", "early"), o), o), "ancova")
  if (!is.null(e)) every[[length(every) + 1]] <- c(e, site = s$name)
}
covary <- function(a, b) { both <- intersect(names(a$share), names(b$share)); if (a$site == b$site) sum(a$share[both] * b$share[both]) else 0 }
V <- outer(seq_along(every), seq_along(every), Vectorize(function(i, j) covary(every[[i]], every[[j]])))
y <- sapply(every, function(e) atanh(e$r)); site <- sapply(every, function(e) e$site); id <- seq_along(y)
fit <- rma.mv(y, V, random = ~ 1 | site/id, test = "t", dfs = "contain", control = list(optimizer = "optim", optmethod = "Nelder-Mead", reltol = 1e-15, maxit = 5000)); new <- predict(fit)
robust <- coef_test(fit, vcov = "CR2", cluster = site, test = "Satterthwaite"); limits <- conf_int(fit, vcov = "CR2", cluster = site)
result$all_outcomes <- list(
  three_level_reml = list(estimate = tanh(c(fit$beta)), std_error = fit$se, ci_low = tanh(fit$ci.lb), ci_high = tanh(fit$ci.ub), tau2 = fit$sigma2[1],
    q = fit$QE, prediction_low = tanh(new$pi.lb), prediction_high = tanh(new$pi.ub)),
  cluster_robust_cr2 = list(estimate = tanh(c(fit$beta)), std_error = robust$SE, ci_low = tanh(limits$CI_L), ci_high = tanh(limits$CI_U)), n = length(y))

# What the 1991 review had to do with effects that are not significant; influence; share below zero.
y <- headline$y; v <- headline$v; hidden <- 2 * pnorm(-abs(y / sqrt(v))) > .05
coded <- function(fit) list(estimate = tanh(c(fit$beta)), std_error = fit$se, ci_low = tanh(fit$ci.lb), ci_high = tanh(fit$ci.ub), tau2 = fit$tau2, n_sites = fit$k)
bound <- qnorm(.975) * sqrt(v)
deviance_of <- function(mean, tau2) { s <- sqrt(v + tau2)
  -sum(ifelse(hidden, log(pnorm(bound, mean, s) - pnorm(-bound, mean, s)), dnorm(y, mean, s, log = TRUE))) }
best <- optim(c(.2, .01), function(p) deviance_of(p[1], p[2]), method = "L-BFGS-B", lower = c(-2, 0), control = list(factr = 10, pgtol = 0, ndeps = c(1e-6, 1e-6)))
result$coded <- list(hidden = sum(hidden), zero = coded(meta(ifelse(hidden, 0, y), v)), dropped = coded(meta(y[!hidden], v[!hidden])),
                     imputed = list(estimate = tanh(best$par[1]), tau2 = best$par[2]))
found <- influence(meta(y, v)); without <- leave1out(meta(y, v))
result$influence <- lapply(setNames(seq_along(y), names(y)), function(i) list(rstudent = found$inf$rstudent[i], dffits = found$inf$dffits[i],
  cook_distance = found$inf$cook.d[i], covariance_ratio = found$inf$cov.r[i], tau2_without = found$inf$tau2.del[i], q_without = found$inf$QE.del[i],
  hat = found$inf$hat[i], weight = found$inf$weight[i] / 100, estimate = tanh(without$estimate[i]), std_error = without$se[i]))
result$negative <- mean(y < 0)
result$eligible <- pooled(y[c("a", "b")], v[c("a", "b")], tanh)

# Contrasts on the same clients: any function of their rows, each therapist left out in turn.
leave_out <- function(d, f) {
  if (nrow(d) < least) return(NULL)
  unit <- if (length(unique(d$t)) >= 5) d$t else d$client
  without <- sapply(unique(unit), function(g) f(d[unit != g, , drop = FALSE])); if (is.null(dim(without))) without <- t(without)
  k <- ncol(without)
  list(estimate = f(d), std_error = sqrt((k - 1) / k * rowSums((without - rowMeans(without))^2)), n = nrow(d))
}
same_clients <- function(s, xs, os, weights, form = "ancova") {  # one alliance and one outcome a term
  d <- data.frame(t = s$therapist, client = s$own$client)
  for (i in seq_along(xs)) { d[paste0("x", i)] <- xs[[i]]; d[paste0("y", i)] <- os[[i]]$post; d[paste0("c", i)] <- os[[i]]$intake }
  leave_out(d[complete.cases(d), ], function(d) {
    r <- sapply(seq_along(xs), function(i) r_of(data.frame(x = d[[paste0("x", i)]], y = d[[paste0("y", i)]], c = d[[paste0("c", i)]]), form))
    c(r, sapply(weights, function(w) sum(w * r)))
  })
}
collected <- list()
keep <- function(table, key, s, found, at, kind, n = found$n) if (!is.null(found))
  collected[[table]][[key]]$sites[[s$name]] <<- list(estimate = found$estimate[[at]], raw_error = found$std_error[[at]], n_clients = n, kind = kind)
both <- function(s, o) if (is.null(o)) NULL else lapply(setNames(raters, raters), function(rater) { a <- alliance(s, rater, "early"); if (is.null(a)) NULL else usable(a, o) })
for (s in of_sites) {
  for (instrument in outcomes) {
    rated_by <- lapply(setNames(raters, raters), function(rated) outcome(s, instrument, rated))
    for (rated in raters) {
      o <- rated_by[[rated]]; x <- both(s, o); if (is.null(x$client) || is.null(x$therapist)) next
      found <- same_clients(s, x, list(o, o), list(c(1, -1)))
      for (i in 1:2) keep("raters", paste(instrument, "client and therapist", rated, raters[i], "", sep = "/"), s, found, i, "r")
      keep("raters", paste(instrument, "client and therapist", rated, "", "client - therapist alliance", sep = "/"), s, found, 3, "difference")
      d <- data.frame(x1 = x$client, x2 = x$therapist, y = o$post, c = o$intake, t = s$therapist, client = s$own$client)
      found <- leave_out(d[complete.cases(d), ], function(d) c(cor(left(d$x1, d$x2, d$c), left(d$y, d$x2, d$c)), cor(left(d$x2, d$x1, d$c), left(d$y, d$x1, d$c))))
      for (i in 1:2) keep("raters", paste(instrument, "client and therapist", rated, raters[i], paste(raters[i], "alliance given", raters[3 - i], "alliance"), sep = "/"), s, found, i, "r")
    }
    if (!is.null(rated_by$client) && !is.null(rated_by$therapist)) {
      x <- list(); o <- list()
      for (rater in raters) for (rated in raters) { x <- c(x, list(both(s, rated_by[[rated]])[[rater]])); o <- c(o, list(rated_by[[rated]])) }
      if (any(sapply(x, is.null))) next
      found <- same_clients(s, x, o, list(c(.5, -.5, -.5, .5)))
      for (i in 1:4) keep("raters", paste(instrument, "client x therapist", rep(raters, 2)[i], rep(raters, each = 2)[i], "", sep = "/"), s, found, i, "r")
      keep("raters", paste(instrument, "client x therapist", "", "", "same rater - crossed raters (client and therapist)", sep = "/"), s, found, 5, "difference")
    }
  }
  o <- preferred(s, "client")
  phases <- c(early = "early", middle = "middle", late = "late", averaged = "all")
  for (rated in c("as_rated", "equalised")) {
    x <- lapply(phases, function(w) usable(alliance(s, "client", w, if (rated == "equalised") settings$equal_sessions), o))
    weights <- list("early - middle" = c(1, -1, 0, 0), "early - late" = c(1, 0, -1, 0), "late - middle" = c(0, -1, 1, 0),
                    "early - averaged" = c(1, 0, 0, -1), "early and late - middle" = c(.5, -1, .5, 0))
    found <- same_clients(s, x, rep(list(o), 4), weights)
    for (i in 1:4) keep("timing", paste(rated, names(phases)[i], "", sep = "/"), s, found, i, "r")
    for (i in seq_along(weights)) keep("timing", paste(rated, "", names(weights)[i], sep = "/"), s, found, 4 + i, "difference")
  }
  a <- alliance(s, "client", "early"); kinds <- list(outcome(s, "target_complaints", "client"), outcome(s, "scl_90_r", "client"))
  found <- same_clients(s, lapply(kinds, function(k) usable(a, k)), kinds, list(c(1, -1)))
  keep("moderators", "kind_of_outcome/tailored/", s, found, 1, "r"); keep("moderators", "kind_of_outcome/broad/", s, found, 2, "r")
  keep("moderators", "kind_of_outcome//tailored - broad", s, found, 3, "difference")
  d <- cbind(together(s, usable(a, o), o), g = s$own$treatment, m = log(s$own$planned_sessions)); d <- d[complete.cases(d[c("x", "y", "c")]), ]
  if (nrow(d) && min(table(factor(d$g, c("cbt", "pdt")))) >= least) {
    found <- leave_out(d, function(d) {
      r <- sapply(c("cbt", "pdt"), function(g) r_of(d[d$g == g, ], "ancova")); fit <- lm(y ~ I(g == "cbt") + c, d)
      c(r, r[1] - r[2], coef(fit)[[2]] / sigma(fit))
    })
    keep("moderators", "treatment/cbt/", s, found, 1, "r", sum(d$g == "cbt")); keep("moderators", "treatment/pdt/", s, found, 2, "r", sum(d$g == "pdt"))
    keep("moderators", "treatment//cbt - pdt", s, found, 3, "difference"); keep("moderators", "treatment//cbt - pdt (outcome)", s, found, 4, "difference")
  }
  d <- d[!is.na(d$m), ]; z <- function(a) (a - mean(a)) / sqrt(mean((a - mean(a))^2))
  d[c("x", "y", "c", "m")] <- lapply(d[c("x", "y", "c", "m")], z); d$xm <- d$x * d$m
  keep("moderators", "planned_length/log planned_sessions/alliance x moderator", s, leave_out(d, function(d) coef(lm(y ~ xm + x + m + c, d))[["xm"]]), 1, "difference")
}
for (table in names(collected)) for (key in names(collected[[table]])) {
  one <- collected[[table]][[key]]$sites; r <- sapply(one, function(e) e$estimate); se <- sapply(one, function(e) e$raw_error)
  of_r <- one[[1]]$kind == "r"; if (of_r) se <- se / (1 - r^2)
  for (site in names(one)) collected[[table]][[key]]$sites[[site]]$std_error <- se[[site]]
  if (length(one) > 1) collected[[table]][[key]]$pooled <- if (of_r) pooled(atanh(r), se^2, tanh) else pooled(r, se^2)
}
result$contrasts <- collected
share <- sapply(names(headline$y), function(site) mean(na.omit(clients$treatment[clients$site == site]) == "cbt"))
length_of <- sapply(names(headline$y), function(site) mean(log(clients$planned_sessions[clients$site == site]), na.rm = TRUE))
for (name in c("treatment", "planned_length")) {
  fit <- meta(headline$y, headline$v, mods = if (name == "treatment") share else length_of)
  result$between_sites[[name]] <- list(estimate = fit$beta[2], std_error = fit$se[2], ci_low = fit$ci.lb[2], ci_high = fit$ci.ub[2], tau2 = fit$tau2)
}

# Models by level.
scaled <- function(a) (a - mean(a, na.rm = TRUE)) / sd(a, na.rm = TRUE)
client_rows <- function(s) {
  o <- preferred(s, "client"); d <- together(s, usable(alliance(s, "client", "early"), o), o); d <- d[!is.na(d$x) & !is.na(d$c), ]
  if (!nrow(d)) return(NULL)
  d[c("x", "y", "c")] <- lapply(d[c("x", "y", "c")], scaled); cbind(d, site = rep(s$name, nrow(d)))
}
clients_split <- function(d) {
  d <- d[!is.na(d$y), ]; therapist <- ave(d$x, d$t)
  cbind(d, between_client = d$x - therapist, between_therapist = therapist - mean(d$x))
}
session_rows <- function(s) {
  of <- function(instruments) { for (i in instruments) { r <- s$rows[s$rows$instrument == i & s$rows$rater == "client" & s$rows$timepoint == "session", ]
    if (nrow(r)) return(r[order(r$client, r$session), ]) } }
  a <- of(c("wai_36", "haq_2")); y <- of("core_10")
  d <- data.frame(site = s$name, client = a$client, t = s$therapist[match(a$client, s$own$client)], session = a$session, x = scaled(a$score))
  d$y <- scaled(sapply(seq_len(nrow(d)), function(i) {
    later <- y[y$client == d$client[i] & y$session > d$session[i] & y$session <= d$session[i] + 2, ]
    if (nrow(later)) -later$score[1] else NA
  }))
  parts <- t(sapply(seq_len(nrow(d)), function(i) {
    earlier <- d[d$session < d$session[i], ]; means <- tapply(earlier$x, earlier$client, mean)
    therapist <- d$t[match(as.numeric(names(means)), d$client)]
    own <- means[as.character(d$client[i])]; of_therapists <- mean(means[therapist == d$t[i]]); all <- mean(means)
    unname(c(d$x[i] - own, own - of_therapists, of_therapists - all))
  }))
  setNames(cbind(d, parts), c(names(d), "within_client", "between_client", "between_therapist"))
}
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), check.conv.singular = "ignore", calc.derivs = FALSE)
model <- function(formula, d, parts) {
  fit <- lmer(formula, d, control = tight); out <- list()
  test <- function(plus, minus = NULL) { w <- as.numeric(names(fixef(fit)) == plus) - (if (is.null(minus)) 0 else as.numeric(names(fixef(fit)) == minus))
    one <- contest1D(fit, w, confint = TRUE, rhs = 0); list(estimate = one$Estimate, std_error = one$`Std. Error`, ci_low = one$lower, ci_high = one$upper) }
  for (i in seq_along(parts)) { out[[paste0(parts[i], "/")]] <- test(parts[i]); if (i > 1) out[[paste0(parts[i], "/", parts[i], " - ", parts[i - 1])]] <- test(parts[i], parts[i - 1]) }
  out
}
shares <- function(formula, d) {
  v <- as.data.frame(VarCorr(lmer(formula, d, control = tight)))
  setNames(as.list(v$vcov / sum(v$vcov)), c(t = "therapist", who = "client", Residual = "rest")[v$grp])
}
levels_of <- function(d, sessions, one_stage) {
  used <- if (one_stage) do.call(rbind, lapply(split(d, d$site), clients_split)) else clients_split(d); parts <- c("within_client", "between_client", "between_therapist")
  of <- function(formula) if (one_stage) update(formula, . ~ . + 0 + site) else formula
  sessions$who <- paste(sessions$site, sessions$client); symptoms <- sessions[complete.cases(sessions[c("y", parts)]), ]
  list(
    outcome = model(if (one_stage) y ~ 0 + site + site:c + between_client + between_therapist + (1 | t) else y ~ c + between_client + between_therapist + (1 | t), used, parts[2:3]),
    symptoms = model(if (one_stage) y ~ 0 + site + site:session + within_client + between_client + between_therapist + (1 | t) + (1 | who)
                     else y ~ session + within_client + between_client + between_therapist + (1 | t) + (1 | who), symptoms, parts),
    shares = list("outcome" = shares(of(y ~ (1 | t)), d[!is.na(d$y), ]), "outcome given intake" = shares(of(y ~ c + (1 | t)), d[!is.na(d$y), ]),
                  "alliance, early mean of clients" = shares(of(x ~ (1 | t)), d), "alliance, session by session" = shares(of(x ~ (1 | t) + (1 | who)), sessions)),
    reliability = { v <- as.data.frame(VarCorr(lmer(of(x ~ (1 | t)), d, control = tight)))$vcov; median(v[1] / (v[1] + v[2] / table(d$t))) })
}
named <- function(d) { d$t <- paste(d$site, d$t); d }
frames <- lapply(of_sites, client_rows); by_session <- lapply(of_sites, session_rows)
for (site in c("a", "d")) result$levels[[site]] <- levels_of(frames[[site]], by_session[[site]], FALSE)
all_clients <- named(do.call(rbind, frames)); all_sessions <- named(do.call(rbind, by_session))
result$levels$one_stage <- levels_of(all_clients, all_sessions, TRUE)
freed <- do.call(rbind, lapply(split(all_clients[!is.na(all_clients$y), ], all_clients$site[!is.na(all_clients$y)]), function(d) {
  y <- left(d$y, d$c); x <- left(d$x, d$c); d$y <- y / sd(y); d$x <- x / sd(x); d }))
fit <- lmer(y ~ 0 + site + x + (0 + x | site) + (1 | t), freed, control = tight); one <- coef(summary(fit))["x", ]
result$one_stage_headline <- list(estimate = one[["Estimate"]], std_error = one[["Std. Error"]], tau2 = as.data.frame(VarCorr(fit))$vcov[as.data.frame(VarCorr(fit))$grp == "site"])

# Early gains: beyond intake and early symptoms; growth of the alliance; change; sudden gains.
for (window in c("session_3", "early")) for (held in c("intake", "intake and early symptoms")) for (kind in c("partial_correlation", "semipartial_correlation")) {
  found <- list()
  for (s in of_sites) {
    o <- preferred(s, "client"); d <- together(s, usable(alliance(s, "client", window), o), o)
    third <- s$rows[s$rows$instrument == "core_10" & s$rows$rater == "client" & s$rows$timepoint == "session" & s$rows$session == 3, ]
    d$e <- if (held == "intake") 0 else -third$score[match(s$own$client, third$client)]
    d <- d[complete.cases(d), ]; if (nrow(d) < least) next
    f <- function(d) { X <- if (held == "intake") cbind(d$c) else cbind(d$c, d$e); x <- left(d$x, X); atanh(cor(x, if (kind == "partial_correlation") left(d$y, X) else d$y)) }
    one <- leave_out(d, f)
    if (length(unique(d$t)) < 5 && kind == "partial_correlation") one$std_error <- 1 / sqrt(nrow(d) - 3 - (if (held == "intake") 1 else 2))
    found[[s$name]] <- list(estimate = tanh(one$estimate), std_error = one$std_error, n_clients = one$n)
  }
  result$partial[[paste(window, held, kind, sep = "/")]] <- list(sites = found,
    pooled = pooled(sapply(found, function(e) atanh(e$estimate)), sapply(found, function(e) e$std_error^2), tanh))
}
growth <- list()
for (s in of_sites) {
  o <- preferred(s, "client"); known <- !is.na(o$post) & !is.na(o$intake); if (!any(known)) next
  gain <- rep(NA, nrow(s$own)); gain[known] <- left(o$post[known], o$intake[known])
  a <- s$rows[s$rows$instrument %in% c("wai_36", "haq_2") & s$rows$rater == "client" & s$rows$timepoint == "session", ]; a$score <- scaled(a$score)
  line <- t(sapply(s$own$client, function(one) { r <- a[a$client == one, ]; if (nrow(r) < 3) c(NA, NA) else unname(coef(lm(score ~ I(session - 1), r))) }))
  d <- data.frame(first = line[, 1], slope = line[, 2], good = gain > 0, t = s$therapist, client = s$own$client); d <- d[complete.cases(d), ]
  for (what in c("first", "slope")) {
    one <- leave_out(d, function(d) { m <- c(mean(d[[what]][d$good]), mean(d[[what]][!d$good])); c(m, m[1] - m[2]) })
    for (i in 1:3) growth[[paste(what, c("successful", "other", "successful - other")[i], sep = "/")]][[s$name]] <-
      list(estimate = one$estimate[i], std_error = one$std_error[i], n_clients = c(sum(d$good), sum(!d$good), nrow(d))[i])
  }
}
for (key in names(growth)) result$growth[[key]] <- list(sites = growth[[key]],
  pooled = pooled(sapply(growth[[key]], function(e) e$estimate), sapply(growth[[key]], function(e) e$std_error^2)))
for (s in of_sites) {
  if (s$name == "d") next
  o <- preferred(s, "client"); before <- -o$intake; after <- -o$post; change <- before - after; ill <- !is.na(before) & before >= settings$cutoff
  if (all(is.na(before))) next
  category <- ifelse(is.na(change), "not_measured", ifelse(change <= -settings$reliable_change, "deteriorated", ifelse(change < settings$reliable_change, "unchanged",
    ifelse(before >= settings$cutoff & after < settings$cutoff, "recovered", "improved"))))
  of <- list(treated = rep(TRUE, length(change)), measured = !is.na(change), beyond_cutoff = ill, beyond_cutoff_measured = ill & !is.na(change))
  for (name in names(of)) result$change[[s$name]][[name]] <- c(as.list(table(factor(category[of[[name]]], c("recovered", "improved", "unchanged", "deteriorated", "not_measured"))) / sum(of[[name]])), n = sum(of[[name]]))
}
for (s in of_sites) {
  y <- s$rows[s$rows$instrument == "core_10" & s$rows$rater == "client" & s$rows$timepoint == "session", ]; last <- max(y$session)
  counted <- lapply(sort(unique(y$client)), function(one) {
    x <- y$score[y$client == one][match(seq_len(last), y$session[y$client == one])]; gains <- c(); losses <- c(); judged <- FALSE
    for (n in 2:(last - 2)) {
      pre <- na.omit(x[max(1, n - 2):n]); post <- na.omit(x[(n + 1):min(last, n + 3)])
      if (is.na(x[n]) || is.na(x[n + 1]) || length(pre) < 2 || length(post) < 2) next
      judged <- TRUE; df <- length(pre) + length(post) - 2; pooled_sd <- sqrt((sum((pre - mean(pre))^2) + sum((post - mean(post))^2)) / df); fall <- x[n] - x[n + 1]
      if (fall >= settings$sudden_gain_points && fall >= .25 * x[n] && mean(pre) - mean(post) > qt(.975, df) * pooled_sd) gains <- c(gains, fall)
      if (-fall >= settings$sudden_gain_points && -fall >= .25 * x[n] && mean(post) - mean(pre) > qt(.975, df) * pooled_sd) losses <- c(losses, -fall)
    }
    list(judged = judged, gains = gains, losses = losses)
  })
  judged <- counted[sapply(counted, function(one) one$judged)]; size <- unlist(lapply(judged, function(one) one$gains))
  result$sudden_gains[[s$name]] <- list(n = length(judged), one = mean(sapply(judged, function(one) length(one$gains) >= 1)),
    several = mean(sapply(judged, function(one) length(one$gains) >= 2)), losses = mean(sapply(judged, function(one) length(one$losses) >= 1)), number = length(size), size = mean(size))
}
cat(toJSON(result, auto_unbox = TRUE, digits = NA, pretty = 1, na = "null"), "\n")
