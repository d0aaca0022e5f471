# Tables of reliability, agreement of raters and components, from the answers as sites sent them; and their pooling over sites.
# Usage: Rscript measurement_tables.R FOLDER   (FOLDER: answers.csv, clients.csv, sessions.csv, conditions.csv, slow.json)   writes JSON
suppressMessages({library(psych); library(lavaan); library(semTools); library(lme4); library(metafor); library(boot); library(jsonlite)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
suppressMessages(source(file.path(here, "schmid_leiman.R")))
options(warn = -1)
quiet <- function(x) suppressWarnings(suppressMessages(x))
folder <- commandArgs(TRUE)[1]
slow <- fromJSON(file.path(folder, "slow.json"))
read <- function(name) read.csv(file.path(folder, paste0(name, ".csv")))
answers <- read("answers"); clients <- read("clients"); sessions <- read("sessions"); conditions <- read("conditions")
instruments <- list(
  wai_s = list(low = 1, high = 7, reverse = c(4, 10), scales = list(task = c(1, 2, 8, 12), bond = c(3, 5, 7, 9), goal = c(4, 6, 10, 11), total = 1:12)),
  wai_sr = list(low = 1, high = 5, reverse = integer(0), scales = list(task = c(1, 2, 10, 12), bond = c(3, 5, 7, 9), goal = c(4, 6, 8, 11), total = 1:12)),
  haq_2 = list(low = 1, high = 6, reverse = c(4, 8, 11, 16, 19), scales = list(positive = c(1, 2, 3, 5, 6, 7, 9, 10, 12, 13, 14, 15, 17, 18), negative = c(4, 8, 11, 16, 19), total = 1:19)))
preference <- c("wai_36", "wai_sr", "wai_s", "haq_2")
sites <- c("a", "b", "c", "d")
least <- 10; fewest_therapists <- 5; share_answered <- .8
rows <- list()
add <- function(table, ..., estimate) if (!is.na(estimate)) rows[[length(rows) + 1]] <<- list(table = table, ..., estimate = estimate)

# Answers of an instrument's forms as they enter a scale: reversed ones turned, but not in the scale of negative statements.
as_scored <- function(instrument, scale, d) {
  one <- instruments[[instrument]]; numbers <- one$scales[[scale]]
  x <- as.matrix(d[paste0("i", numbers)])
  turned <- if (scale == "negative") integer(0) else which(numbers %in% one$reverse)
  x[, turned] <- one$low + one$high - x[, turned]
  x
}
score_of <- function(x) {
  given <- rowSums(!is.na(x))
  ifelse(given >= ceiling(share_answered * ncol(x) - 1e-9), rowMeans(x, na.rm = TRUE) * ncol(x), NA)
}
forms_of <- function(site, instrument, rater) {
  d <- answers[answers$site == site & answers$instrument == instrument & answers$rater == rater, ]
  d <- d[rowSums(!is.na(d[paste0("i", 1:12)])) > 0, ]
  d[order(d$client, d$session, d$rater_no), ]
}
in_window <- function(d, window) {
  if (window == "session_3") return(d$session == 3)
  there <- sessions[sessions$site == d$site[1], ]
  if (!nrow(there)) there <- unique(answers[answers$site == d$site[1], c("client", "session")])
  mapply(function(client, session) session %in% tail(sort(there$session[there$client == client]), 3), d$client, d$session)
}
# The therapist named in the table of clients, else the one named most often with the client's scores (observers' are one score).
therapist_of <- function(site, who) {
  own <- clients[clients$site == site, ]
  rated <- unique(answers[answers$site == site, c("instrument", "rater", "client", "therapist", "session")])
  sapply(who, function(client) {
    named <- own$therapist[own$client == client]
    if (!is.na(named)) return(paste("t", named))
    counts <- table(rated$therapist[rated$client == client])
    if (length(counts)) paste("t", names(counts)[which.max(counts)]) else paste("alone", client)
  })
}
units_of <- function(site, who) {
  if (site == "c") return(list(unit = seq_along(who), by = "client_jackknife", therapists = NA))
  t <- therapist_of(site, who); g <- length(unique(t))
  if (g < fewest_therapists) list(unit = seq_along(who), by = "client_jackknife", therapists = g) else list(unit = t, by = "cluster_jackknife", therapists = g)
}
# Values without each unit, shape values x units; and the standard error they give.
without <- function(unit, f) { v <- sapply(unique(unit), function(u) f(unit != u)); if (is.matrix(v)) v else t(v) }
jackknife <- function(v) { g <- ncol(v); sqrt((g - 1) / g * rowSums((v - rowMeans(v))^2)) }
bounds <- function(centre, error, df, back) sort(back(centre + c(-1, 1) * qt(.975, df) * error))
on_complement <- function(estimate, left_out, df = ncol(left_out) - 1) {
  error <- jackknife(log(1 - left_out))
  lapply(seq_along(estimate), function(i) list(estimate = estimate[[i]], se = error[[i]], limits = bounds(-log(1 - estimate[[i]]), error[[i]], df, function(y) 1 - exp(-y))))
}

alpha_of <- function(s) { p <- ncol(s); p / (p - 1) * (1 - sum(diag(s)) / sum(s)) }
# One factor by maximum likelihood, loadings given the uniquenesses (Joereskog, 1967): as lavaan, but quick enough to leave out therapists.
one_factor_omega <- function(s) {
  r <- cov2cor(s); p <- ncol(s)
  parts <- function(psi) eigen(r / sqrt(outer(psi, psi)), symmetric = TRUE)
  value <- function(psi) { e <- parts(psi)$values[-1]; sum(e - log(e)) }
  slope <- function(psi) { e <- parts(psi); l <- sqrt(psi) * e$vectors[, 1] * sqrt(max(e$values[1] - 1, 0)); diag(tcrossprod(l) + diag(psi) - r) / psi^2 }
  psi <- nlminb((1 - .5 / p) / diag(solve(r)), value, slope, lower = 1e-4, upper = 1, control = list(rel.tol = 1e-15, x.tol = 1e-12, iter.max = 5000, eval.max = 10000))$par
  if (min(psi) < 1.01e-4) return(NA)  # Heywood case
  e <- parts(psi); l <- sqrt(psi) * e$vectors[, 1] * sqrt(e$values[1] - 1); sd <- sqrt(diag(s)); common <- sum(l * sd)^2
  common / (common + sum(psi * sd^2))
}
omega_by_lavaan <- function(s, n) {
  fit <- quiet(cfa(paste("f =~", paste(colnames(s), collapse = " + ")), sample.cov = s, sample.nobs = n, std.lv = TRUE, optim.method = "BFGS", control = list(reltol = 1e-16, maxit = 5000)))
  stopifnot(lavInspect(fit, "converged"))
  quiet(reliability(fit))["omega", 1]
}
omega_of_categories <- function(x) {
  d <- as.data.frame(x)
  fit <- quiet(cfa(paste("f =~", paste(names(d), collapse = " + ")), d, ordered = names(d), estimator = "ULS", std.lv = TRUE, se = "none", test = "none", control = list(rel.tol = 1e-10)))
  r <- unclass(lavInspect(fit, "sampstat")$cov)
  c(omega = as.numeric(compRelSEM(fit, ord.scale = TRUE, obs.var = TRUE)), alpha = alpha_of(r))
}

wilson <- function(share, n, z) { mid <- share + z^2 / (2 * n); half <- z * sqrt(share * (1 - share) / n + z^2 / (4 * n^2)); c(mid - half, mid + half) / (1 + z^2 / n) }

proper_schmid_leiman <- function(r) {
  one <- schmid_leiman_exact(r, 3)
  if (min(one$uniquenesses, one$group) < .0051) c(omega_h = NA, omega_t = NA) else c(omega_h = one$omega_h, omega_t = one$omega_t)
}

# One scale of one window.
coefficients_of <- function(x, unit, with) {
  s <- cov(x)
  c(alpha = alpha_of(s), omega_total = one_factor_omega(s), if (with) proper_schmid_leiman(cov2cor(s)))
}
complete_forms <- function(site, instrument, rater, window, scale) {
  d <- forms_of(site, instrument, rater)
  d <- d[in_window(d, window), ]; d <- d[!duplicated(d$client), ]
  x <- as_scored(instrument, scale, d); used <- complete.cases(x)
  list(x = x[used, , drop = FALSE], client = d$client[used], forms = nrow(d))
}
one_scale <- function(site, instrument, rater, window, scale) {
  found <- complete_forms(site, instrument, rater, window, scale); x <- found$x; n <- nrow(x)
  id <- list(site = site, instrument = instrument, rater = rater, window = window, instrument_scale = scale, n = n, missing = 1 - n / found$forms)
  put <- function(type, ...) do.call(add, c(list("reliability"), id, list(estimate_type = type, ...)))
  if (n < least) return(invisible())
  by <- units_of(site, found$client); unit <- by$unit; g <- length(unique(unit))
  id$therapists <- by$therapists
  with <- scale == "total" && length(instruments[[instrument]]$scales) == 4 && window == "session_3"
  values <- coefficients_of(x, unit, with); s <- cov(x)
  stopifnot(abs(quiet(psych::alpha(as.data.frame(x), check.keys = FALSE))$total$raw_alpha - values[["alpha"]]) < 1e-10)
  lavaan <- omega_by_lavaan(s, n); stopifnot(abs(lavaan - values[["omega_total"]]) < 1e-5)
  values[["omega_total"]] <- lavaan
  each <- on_complement(values, without(unit, function(keep) coefficients_of(x[keep, ], unit, with)))
  names <- c("alpha", "omega_total", "omega_hierarchical", "omega_total_schmid_leiman")
  for (i in seq_along(each)) {
    put(names[i], estimate = each[[i]]$estimate, std_error = each[[i]]$se, ci_low = each[[i]]$limits[1], ci_high = each[[i]]$limits[2], search = i > 1)
    if (instrument == first_of(site, rater) && window == "session_3" && scale == "total" && i < 3)
      put(names[i], preferred = TRUE, estimate = each[[i]]$estimate, std_error = each[[i]]$se, ci_low = each[[i]]$limits[1], ci_high = each[[i]]$limits[2], search = i > 1)
  }
  # Correlations of items.
  a <- quiet(psych::alpha(as.data.frame(x), check.keys = FALSE))
  r <- c(a$total$average_r, a$item.stats$r.drop)
  by_hand <- function(x) { k <- cor(x); c((sum(k) - ncol(x)) / ncol(x) / (ncol(x) - 1), sapply(seq_len(ncol(x)), function(j) cor(x[, j], rowSums(x[, -j])))) }
  error <- jackknife(without(unit, function(keep) by_hand(x[keep, ]))) / (1 - r^2)
  df <- if (by$by == "cluster_jackknife") g - 1 else Inf
  for (i in seq_along(r)) if (i == 1 || ((scale != "total") && window == "session_3")) {
    ends <- bounds(atanh(r[i]), error[i], df, tanh)
    put(if (i == 1) "inter_item_correlation" else "item_rest_correlation", item = if (i > 1) as.character(instruments[[instrument]]$scales[[scale]][i - 1]) else "", estimate = r[i], std_error = error[i], ci_low = ends[1], ci_high = ends[2], search = FALSE)
  }
  # Share of clients at the highest possible score.
  top <- rowMeans(x) == instruments[[instrument]]$high; share <- mean(top); count <- sum(top)
  clustered <- by$by == "cluster_jackknife" && count > 0 && count < n
  if (clustered) {
    error <- jackknife(without(unit, function(keep) mean(top[keep])))
    limits <- wilson(share, min(n, share * (1 - share) / error^2), qt(.975, g - 1)); logit <- error / share / (1 - share)
  } else {
    limits <- as.numeric(prop.test(count, n, correct = FALSE)$conf.int); logit <- sqrt(1 / (count + .5) + 1 / (n - count + .5))
  }
  put("share", estimate = share, std_error = logit, ci_low = limits[1], ci_high = limits[2], search = FALSE, pooled_as = if (clustered) qlogis(share) else log((count + .5) / (n - count + .5)))
  # Few answers an item: polychoric correlations.
  if (instruments[[instrument]]$high - instruments[[instrument]]$low < 5) {
    values <- omega_of_categories(x)
    each <- if (slow) on_complement(values, without(unit, function(keep) omega_of_categories(x[keep, ]))) else lapply(values, function(v) list(estimate = v))
    for (i in 1:2) put(c("omega_ordinal", "alpha_ordinal")[i], estimate = each[[i]]$estimate, std_error = each[[i]]$se, ci_low = each[[i]]$limits[1], ci_high = each[[i]]$limits[2], search = TRUE)
  }
}

first_of <- function(site, rater) { has <- unique(answers$instrument[answers$site == site & answers$rater == rater]); preference[preference %in% has][1] }

contrast <- function(site, first, second) {
  chosen <- lapply(c(first, second), function(rater) if (is.na(first_of(site, rater))) NULL else complete_forms(site, first_of(site, rater), rater, "session_3", "total"))
  if (any(sapply(chosen, is.null))) return(invisible())
  both <- sort(intersect(chosen[[1]]$client, chosen[[2]]$client))
  if (length(both) < least) return(invisible())
  x <- lapply(chosen, function(one) one$x[match(both, one$client), ]); by <- units_of(site, both)
  of <- function(keep) { v <- sapply(x, function(one) { s <- cov(one[keep, ]); c(alpha_of(s), one_factor_omega(s)) }); v[, 1] - v[, 2] }
  value <- of(rep(TRUE, length(both))); left_out <- without(by$unit, of); error <- jackknife(left_out)
  for (i in 1:2) {
    ends <- bounds(value[i], error[i], ncol(left_out) - 1, identity)
    add("reliability", site = site, preferred = TRUE, window = "session_3", instrument_scale = "total", contrast = paste(first, "minus", second), coefficient = c("alpha", "omega_total")[i],
        estimate_type = "reliability_contrast", n = length(both), therapists = by$therapists, estimate = value[i], std_error = error[i], ci_low = ends[1], ci_high = ends[2], search = i > 1)
  }
}

# Sessions within and between clients.
two_level <- function(d, k) {
  items <- colnames(d)[colnames(d) != "client"]; f <- paste("f =~", paste(items, collapse = " + "))
  fit <- quiet(cfa(paste0("level: 1\n", sub("f =~", "w =~", f), "\nlevel: 2\n", sub("f =~", "b =~", f)), d, cluster = "client", std.lv = TRUE, h1 = FALSE, se = "none", test = "none"))
  if (!lavInspect(fit, "converged")) stop("two levels did not converge")
  e <- lavInspect(fit, "est")
  # Where the likelihood grows for ever with a loading, lavaan stops somewhere on the way.
  if (max(abs(e[[2]]$theta)) > 10 * max(apply(d[items], 2, var))) return(rep(NA, 3))
  common <- c(sum(e$within$lambda), sum(e[[2]]$lambda))^2; noise <- c(sum(diag(e$within$theta)), sum(diag(e[[2]]$theta)))
  proper <- c(min(diag(e$within$theta)), min(diag(e$within$theta), diag(e[[2]]$theta))) > 0
  c(common / (common + noise), common[2] / (sum(common[2], noise[2]) + (common[1] + noise[1]) / k)) * ifelse(proper, 1, NA)[c(1, 2, 2)]
}
free_covariances <- function(d) {
  items <- colnames(d)[colnames(d) != "client"]
  pairs <- paste0(" ", outer(items, items, paste, sep = " ~~ ")[lower.tri(diag(length(items)), TRUE)], collapse = "\n")
  fit <- quiet(sem(paste0("level: 1\n", pairs, "\nlevel: 2\n", pairs), d, cluster = "client", h1 = FALSE, se = "none", test = "none"))
  sapply(lavInspect(fit, "implied"), function(level) if (min(eigen(level$cov)$values) > 1e-6) alpha_of(unclass(level$cov)) else NA)
}
balanced_alphas <- function(x, client, m) {
  mean <- rowsum(x, client) / m; within <- crossprod(x - mean[as.character(client), ]) / (nrow(x) - nrow(mean))
  between <- crossprod(sweep(mean, 2, colMeans(mean))) / nrow(mean) - within / m
  c(alpha_of(within), if (min(eigen(between)$values) > 0) alpha_of(between) else NA)
}
across <- function(site, instrument, rater) {
  d <- forms_of(site, instrument, rater); d <- d[!duplicated(d[c("client", "session")]), ]
  if (!anyDuplicated(d$client)) return(invisible())
  x <- as_scored(instrument, "total", d); used <- complete.cases(x)
  full <- data.frame(x[used, ], client = d$client[used]); everyone <- d; d <- d[used, ]; x <- x[used, ]
  who <- unique(d$client); by <- units_of(site, who); g <- length(unique(by$unit))
  unit <- by$unit[match(d$client, who)]; k <- 1 / mean(1 / table(d$client)); balanced <- length(unique(table(d$client))) == 1 && nrow(d) == nrow(everyone)
  put <- function(type, coefficient, estimate, se = NULL, limits = NULL, search = TRUE) add("reliability", site = site, instrument = instrument, rater = rater, window = "all sessions", instrument_scale = "total", n = length(who), sessions = nrow(d),
    missing = 1 - nrow(d) / nrow(everyone), therapists = by$therapists, coefficient = coefficient, estimate_type = type, estimate = estimate, std_error = se, ci_low = limits[1], ci_high = limits[2], search = search)
  omegas <- two_level(full, k)
  harmonic <- function(keep) 1 / mean(1 / table(d$client[keep]))
  each <- if (slow) on_complement(omegas, without(unit, function(keep) two_level(full[keep, ], harmonic(keep)))) else lapply(omegas, function(v) list(estimate = v))
  types <- c("reliability_within", "reliability_between", "reliability_between")
  for (i in 1:3) put(types[i], c("omega_within", "omega_between", "omega_of_means")[i], each[[i]]$estimate, each[[i]]$se, each[[i]]$limits)
  alphas <- if (balanced) balanced_alphas(x, d$client, k) else if (slow) free_covariances(full)
  each <- if (balanced) on_complement(alphas, without(unit, function(keep) balanced_alphas(x[keep, ], d$client[keep], k))) else lapply(alphas, function(v) list(estimate = v))
  for (i in seq_along(each)) put(types[i], c("alpha_within", "alpha_between")[i], each[[i]]$estimate, each[[i]]$se, each[[i]]$limits, search = !balanced)
  if (balanced) {
    general <- function(keep) {
      p <- quiet(multilevel.reliability(data.frame(x, client = d$client, session = d$session)[keep, ], grp = "client", Time = "session", items = colnames(x), alpha = FALSE, lme = TRUE, lmer = FALSE))
      v <- setNames(p$components[1:7, 1], c("person", "session", "item", "person_session", "person_item", "session_item", "rest")); of_items <- v[["rest"]] / ncol(x); person <- v[["person"]] + v[["person_item"]] / ncol(x)
      # nlme stops early; sessions nested in clients of equal numbers need mean squares only.
      d <- d[keep, ]; x <- x[keep, ]; of_session <- rowMeans(x); of_client <- ave(of_session, d$client); m <- ncol(x); freedom <- nrow(x) - length(unique(d$client))
      nested <- 1 - sum((x - of_session)^2) / (nrow(x) * (m - 1)) / (m * sum((of_session - of_client)^2) / freedom)
      stopifnot(abs(nested - p$Rcn) < 1e-3)
      c(person / (person + of_items), p$RkF, p$Rc, nested)
    }
    values <- general(rep(TRUE, nrow(d))); each <- on_complement(values, without(unit, general))
    for (i in 1:4) if (!is.na(values[i])) put(c("reliability_between", "reliability_between", "reliability_within", "reliability_within")[i], c("R_1F", "R_KF", "R_C", "R_CN")[i], each[[i]]$estimate, each[[i]]$se, each[[i]]$limits)
  }
}

# Each rated session with the next.
scores_by_session <- function(site, instrument, rater) {
  d <- forms_of(site, instrument, rater); d$score <- score_of(as_scored(instrument, "total", d)); d <- d[!is.na(d$score), ]
  tapply(d$score, d[c("client", "session")], mean)
}
mean_of_pairs <- function(x, pairs) {
  r <- sapply(pairs, function(j) cor(x[, j], x[, j + 1], use = "complete.obs")); n <- sapply(pairs, function(j) sum(complete.cases(x[, j + 0:1])))
  weighted.mean(r, n)
}
stability <- function(site, instrument, raters) {
  tables <- lapply(raters, function(rater) scores_by_session(site, instrument, rater))
  if (length(raters) == 2) {
    who <- intersect(rownames(tables[[1]]), rownames(tables[[2]])); when <- intersect(colnames(tables[[1]]), colnames(tables[[2]]))
    tables <- lapply(tables, function(x) x[who, when, drop = FALSE])
    gap <- is.na(tables[[1]]) | is.na(tables[[2]]); tables <- lapply(tables, function(x) { x[gap] <- NA; x })
  }
  if (ncol(tables[[1]]) < 2) return(invisible())
  first <- tables[[1]]; pairs <- seq_len(ncol(first) - 1); n <- sapply(pairs, function(j) sum(complete.cases(first[, j + 0:1]))); pairs <- pairs[n >= least]
  anywhere <- rowSums(sapply(pairs, function(j) complete.cases(first[, j + 0:1]))) > 0
  tables <- lapply(tables, function(x) x[anywhere, ]); by <- units_of(site, as.integer(rownames(first)[anywhere]))
  df <- if (by$by == "cluster_jackknife") length(unique(by$unit)) - 1 else Inf
  common <- list("reliability", site = site, window = "all sessions", instrument_scale = "total", coefficient = "next rated session", n = sum(anywhere), sessions = sum(!is.na(first)), therapists = by$therapists, search = FALSE)
  if (length(raters) == 2) {
    of <- function(keep) mean_of_pairs(tables[[1]][keep, ], pairs) - mean_of_pairs(tables[[2]][keep, ], pairs)
    value <- of(rep(TRUE, sum(anywhere))); error <- jackknife(without(by$unit, of)); ends <- bounds(value, error, df, identity)
    return(do.call(add, c(common, list(preferred = TRUE, contrast = paste(raters, collapse = " minus "), estimate_type = "correlation_contrast", estimate = value, std_error = error, ci_low = ends[1], ci_high = ends[2]))))
  }
  z <- atanh(mean_of_pairs(tables[[1]], pairs)); error <- jackknife(without(by$unit, function(keep) atanh(mean_of_pairs(tables[[1]][keep, ], pairs)))); ends <- bounds(z, error, df, tanh)
  do.call(add, c(common, list(instrument = instrument, rater = raters, estimate_type = "correlation", estimate = tanh(z), std_error = error, ci_low = ends[1], ci_high = ends[2])))
}

# Agreement of raters of the same sessions.
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e5), check.conv.singular = "ignore", calc.derivs = FALSE)
components <- function(formula, d) { v <- as.data.frame(VarCorr(lmer(formula, d, control = tight))); setNames(as.list(v$vcov), v$grp) }
of_table <- function(x) { p <- quiet(ICC(x, lmer = FALSE)); setNames(p$results$ICC, p$results$type) }
agreement <- function(site, instrument, rater, scale) {
  d <- forms_of(site, instrument, rater); d$value <- rowSums(as_scored(instrument, scale, d)); d$target <- paste(d$client, d$session)
  x <- tapply(d$value, d[c("target", "rater_no")], mean); if (ncol(x) < 2 || all(rowSums(!is.na(x)) < 2)) return(invisible())
  client <- as.integer(sub(" .*", "", rownames(x))); by <- units_of(site, client); n <- nrow(x); complete <- !anyNA(x)
  k <- 1 / mean(1 / rowSums(!is.na(x))); two <- components(value ~ (1 | target) + (1 | rater_no), d); one <- components(value ~ (1 | target), d)
  average <- function(ratio) k * ratio / (1 + k * ratio)
  if (complete) {
    p <- quiet(ICC(x, lmer = FALSE)$results); rownames(p) <- p$type; estimate <- setNames(p[c("ICC1", "ICC1k", "ICC2", "ICC2k", "ICC3", "ICC3k"), "ICC"], NULL)
    consistency <- function(rows) of_table(x[rows, ])[c("ICC1k", "ICC3k")]
  } else {
    average_three <- c(average(one$target / one$Residual), k * two$target / (k * two$target + two$rater_no + two$Residual), average(two$target / two$Residual))
    estimate <- as.numeric(rbind(average_three / (k - (k - 1) * average_three), average_three))
    consistency <- function(rows) { keep <- d[d$target %in% rownames(x)[rows], ]; w <- components(value ~ (1 | target) + (1 | rater_no), keep); o <- components(value ~ (1 | target), keep); average(c(o$target / o$Residual, w$target / w$Residual)) }
  }
  # F of the two-way and one-way tables, from sequential least squares.
  table <- anova(lm(value ~ factor(rater_no) + factor(target), d)); df <- table$Df
  independent <- site == "c"
  if (independent) { errors <- sqrt(2 / (n - 1) + 2 / c(nrow(d) - n, df[3])); t <- NULL
  } else { left_out <- without(by$unit, consistency); errors <- jackknife(log(1 - left_out)); t <- qt(.975, ncol(left_out) - 1) }
  names <- c("ICC(1,1)", "ICC(1,k)", "ICC(2,1)", "ICC(2,k)", "ICC(3,1)", "ICC(3,k)")
  # Raters' variance over that of error, from the mean square between raters given sessions (Zou & Donner, 2008, joined with consistency).
  raters_ms <- anova(lm(value ~ factor(target) + factor(rater_no), d))
  per_rater <- sum(diag(rater_information(x))) / (ncol(x) - 1)
  ratio <- if (complete) (raters_ms$`Mean Sq`[2] / raters_ms$`Mean Sq`[3] - 1) / n else two$rater_no / two$Residual
  signal <- estimate[6] / (1 - estimate[6]); rater_error <- (1 + per_rater * ratio) / (per_rater * (1 + ratio)) * sqrt(2 / raters_ms$Df[2] + 2 / raters_ms$Df[3])
  agreement_error <- sqrt(((1 + signal) / (signal + 1 + ratio) * errors[2])^2 + (signal / (signal + 1 + ratio) * rater_error)^2)
  all_errors <- c(errors[1], agreement_error, errors[2])
  for (i in 1:6) {
    form <- (i + 1) %/% 2; limits <- NULL
    average_one <- estimate[2 * form]
    if (form != 2 && !independent) limits <- 1 - (1 - average_one) * exp(c(1, -1) * t * all_errors[form])
    if (independent) limits <- unlist(p[c("ICC1k", "ICC2k", "ICC3k")[form], c("lower bound", "upper bound")])
    if (i %% 2 && !is.null(limits)) limits <- limits / (k - (k - 1) * limits)
    error <- (1 - average_one) * all_errors[form]; if (i %% 2) error <- error * k / (k - (k - 1) * average_one)^2
    for (preferred in c(FALSE, if (scale == "total") TRUE))
      add("interrater", site = site, instrument = instrument, preferred = preferred, rater = rater, instrument_scale = scale, form = names[i], estimate_type = "icc", estimate = estimate[i], std_error = error / (1 - estimate[i]), ci_low = limits[1], ci_high = limits[2],
          n = length(unique(client)), sessions = n, therapists = by$therapists, raters = if (i %% 2) 1 else k, search = !complete)
  }
  # Sources of variance where clients have several sessions, and what means over raters and sessions keep of it.
  if (anyDuplicated(client)) {
    s <- 1 / mean(1 / table(client)); sources <- function(d) unlist(components(value ~ (1 | client) + (1 | target) + (1 | rater_no) + (1 | client:rater_no), d)[c("client", "target", "rater_no", "client:rater_no", "Residual")])
    kept <- function(v) c(v[1] / (v[1] + v[2] / s + v[4] / k + v[5] / (k * s)), (v[1] + v[2]) / (v[1] + v[2] + (v[4] + v[5]) / k))
    # lme4 keeps variances at zero or above; leaving out a therapist subtracts smoothly only inside.
    v <- sources(d); left_out <- without(by$unit, function(rows) sources(d[d$target %in% rownames(x)[rows], ]))
    each <- if (min(left_out[-3, ]) > 1e-4 * sum(v)) on_complement(kept(v), apply(left_out, 2, kept)) else lapply(kept(v), function(one) list(estimate = one))
    put <- function(form, ...) add("interrater", site = site, instrument = instrument, preferred = FALSE, rater = rater, instrument_scale = scale, form = form, n = length(unique(client)), sessions = n, search = TRUE, ...)
    for (i in 1:5) put(c("client", "session", "rater", "client x rater", "residual")[i], estimate_type = "variance_component", estimate = v[[i]] / sum(v), raters = 1)
    for (i in 1:2) put(c("clients' means over sessions", "scores of single sessions")[i], estimate_type = "generalizability", estimate = each[[i]]$estimate, std_error = each[[i]]$se, ci_low = each[[i]]$limits[1], ci_high = each[[i]]$limits[2], raters = k)
  }
  for (i in seq_len(ncol(x))) for (j in seq_len(ncol(x))) if (i < j) {
    both <- !is.na(x[, i]) & !is.na(x[, j]); difference <- (x[, i] - x[, j])[both]; own <- units_of(site, client[both])
    error <- jackknife(without(own$unit, function(keep) mean(difference[keep])))
    ends <- bounds(mean(difference), error, if (own$by == "cluster_jackknife") length(unique(own$unit)) - 1 else Inf, identity)
    add("interrater", site = site, instrument = instrument, preferred = FALSE, rater = rater, instrument_scale = scale, form = sprintf("rater %d minus rater %d", i, j), estimate_type = "mean_difference", estimate = mean(difference), std_error = error, ci_low = ends[1], ci_high = ends[2], n = length(unique(client[both])), sessions = sum(both), search = FALSE)
  }
}
# What raters' ratings tell of the raters' level once sessions are held constant.
rater_information <- function(x) {
  seen <- !is.na(x); diag(colSums(seen)) - crossprod(seen / sqrt(rowSums(seen)))
}

# The first principal component.
component <- function(site, draws) {
  instrument <- first_of(site, "client"); d <- forms_of(site, instrument, "client"); d <- d[d$session == 3, ]
  x <- sapply(c("task", "bond", "goal"), function(scale) score_of(as_scored(instrument, scale, d)))
  given <- conditions[conditions$site == site, ]
  x <- cbind(empathy = given$care[match(d$client, given$client)], regard = given$regard[match(d$client, given$client)], x); used <- complete.cases(x); x <- x[used, ]
  whole <- principal(cor(x), nfactors = 1, n.obs = nrow(x)); l <- as.vector(whole$loadings); l <- l * sign(sum(l)); share <- unname(whole$Vaccounted["Proportion Var", 1])
  value <- function(data) { e <- eigen(cor(data), symmetric = TRUE); v <- e$vectors[, 1] * sqrt(e$values[1]); c(v * sign(sum(v * l)), e$values[1] / ncol(data)) }
  t <- therapist_of(site, d$client[used]); groups <- split(seq_len(nrow(x)), t); if (length(groups) < 10) groups <- as.list(seq_len(nrow(x)))
  set.seed(1); drawn <- boot(seq_along(groups), function(g, i) value(x[unlist(groups[g[i]]), ]), draws)$t
  scaled <- cbind(atanh(drawn[, 1:5]), qlogis(drawn[, 6])); error <- apply(scaled, 2, sd) * sqrt(length(groups) / (length(groups) - 1))
  names <- c(colnames(x), "")
  for (i in 1:6) add("components", site = site, variable = names[i], estimate_type = if (i < 6) "component_loading" else "component_share", estimate = c(l, share)[i], boot_error = error[i], n = nrow(x), therapists = length(unique(t)), search = FALSE)
}

for (site in sites) for (instrument in names(instruments)) for (rater in c("client", "therapist", "observer")) {
  if (!any(answers$site == site & answers$instrument == instrument & answers$rater == rater)) next
  for (scale in names(instruments[[instrument]]$scales)) {
    for (window in c("session_3", "late")) one_scale(site, instrument, rater, window, scale)
    agreement(site, instrument, rater, scale)
  }
  across(site, instrument, rater)
  stability(site, instrument, rater)
}
for (site in sites) for (pair in list(c("therapist", "client"), c("therapist", "observer"), c("client", "observer"))) contrast(site, pair[1], pair[2])
for (pair in list(c("therapist", "client"), c("therapist", "observer"), c("client", "observer"))) stability("a", "wai_s", pair)
for (site in c("a", "b", "d")) component(site, 4000)
rows <- lapply(rows, function(row) row[!sapply(row, function(v) is.null(v) || length(v) == 0 || (length(v) == 1 && is.na(v)))])
cat(toJSON(rows, auto_unbox = TRUE, digits = NA, na = "null"))
