# Hazard models of person-periods by glm and glmer, profile limits of the frailty by brute force, coxph on lung, and curves by survfit.
suppressMessages({library(lme4); library(survival)})
folder <- commandArgs(TRUE)[1]
out <- list()

observed_error <- function(fit, rows, link) {
  # glm gives errors of the expected information; those of the observed one come from numbers of its log-likelihood.
  X <- model.matrix(fit)
  loglik <- function(b) {
    eta <- drop(X %*% b)
    if (link == "cloglog") sum(ifelse(rows$event == 1, log(-expm1(-exp(eta))), -exp(eta)))
    else sum(rows$event * eta - log1p(exp(eta)))
  }
  sqrt(diag(solve(-optimHess(coef(fit), loglik, control = list(ndeps = rep(1e-4, ncol(X)))))))
}

for (name in c("many", "few", "strata")) {
  rows <- read.csv(file.path(folder, paste0(name, ".csv")))
  formula <- if (name == "strata") event ~ 0 + site + alliance + severity + session else event ~ alliance + severity + session
  terms <- c("alliance", "severity", "session")
  for (link in c("cloglog", "logit")) {
    plain <- glm(formula, binomial(link), rows, control = list(epsilon = 1e-14, maxit = 100))
    mixed <- glmer(update(formula, . ~ . + (1 | therapist)), rows, binomial(link), nAGQ = 25,
                   control = glmerControl("bobyqa", tolPwrss = 1e-10, optCtrl = list(rhobeg = 0.02, rhoend = 1e-9)))
    at <- match(terms, names(coef(plain)))
    out[[name]][[link]] <- list(
      plain = unname(coef(plain))[at], plain_error = unname(observed_error(plain, rows, link))[at],
      plain_log_likelihood = as.numeric(logLik(plain)),
      mixed = unname(fixef(mixed))[at], mixed_error = unname(sqrt(diag(as.matrix(vcov(mixed)))))[at],
      intercepts = unname(fixef(mixed))[-at], sd = unname(getME(mixed, "theta")), log_likelihood = as.numeric(logLik(mixed)))
  }
}

# Profile limits of the frailty's standard deviation: the integral of every therapist by a fine grid.
rows <- read.csv(file.path(folder, "few.csv"))
X <- cbind(1, rows$alliance, rows$severity, rows$session)
grid <- seq(-8, 8, length.out = 401)
weight <- dnorm(grid) * (grid[2] - grid[1])
best <- function(sd) {
  minus <- function(b) {
    eta <- drop(X %*% b)
    -sum(sapply(split(seq_along(eta), rows$therapist), function(i) {
      m <- outer(eta[i], sd * grid, "+")
      y <- rows$event[i]
      log(sum(exp(colSums(ifelse(y == 1, 1, 0) * log(pmax(-expm1(-exp(m)), 1e-300)) - (1 - y) * exp(m))) * weight))
    }))
  }
  fit <- optim(c(out$few$cloglog$intercepts, out$few$cloglog$mixed), minus, method = "BFGS", control = list(reltol = 1e-12))
  -fit$value
}
top <- out$few$cloglog$log_likelihood
crossing <- function(sd) 2 * (top - best(sd)) - qchisq(0.95, 1)
sd <- out$few$cloglog$sd
out$profile <- c(uniroot(crossing, c(1e-3, sd), tol = 1e-5)$root, uniroot(crossing, c(sd, 5 * sd), tol = 1e-5)$root)

# Weighted rows, and each therapist left out in turn.
rows$weight <- 0.5 + (seq_len(nrow(rows)) %% 3) / 2
weighted <- function(kept) coef(suppressWarnings(glm(event ~ alliance + severity + session, binomial("cloglog"), kept, weights = weight,
                                                     control = list(epsilon = 1e-14, maxit = 100))))
out$weighted <- list(whole = unname(weighted(rows)),
                     without = t(unname(sapply(unique(rows$therapist), function(g) weighted(rows[rows$therapist != g, ])))))

# The grouped proportional hazards model against Cox's on the patients of lung.
d <- na.omit(lung[, c("time", "status", "age", "sex", "ph.ecog")])
cox <- coxph(Surv(time, status) ~ age + sex + ph.ecog, d, ties = "efron")
times <- sort(unique(d$time[d$status == 2]))
periods <- do.call(rbind, lapply(seq_len(nrow(d)), function(i) {
  seen <- times[times <= d$time[i]]
  if (!length(seen)) return(NULL)
  data.frame(time = seen, event = as.integer(d$status[i] == 2 & seen == d$time[i]), age = d$age[i], sex = d$sex[i], ecog = d$ph.ecog[i])
}))
grouped <- glm(event ~ 0 + factor(time) + age + sex + ecog, binomial("cloglog"), periods, control = list(epsilon = 1e-12, maxit = 100))
patients <- list(time = d$time, died = as.integer(d$status == 2), age = d$age, sex = d$sex, ecog = d$ph.ecog)
out$lung <- list(cox = unname(coef(cox)), n = cox$n, grouped = unname(tail(coef(grouped), 3)), patients = patients)

# Curves.
d <- read.csv(file.path(folder, "endings.csv"))
at <- 1:8
whole <- survfit(Surv(last, factor(ending, 0:2)) ~ 1, d, id = id, conf.type = "log-log", influence = TRUE)
s <- summary(whole, times = at)
place <- findInterval(at, whole$time) + 1  # the first is time 0
within <- function(column) {
  moved <- rowsum(whole$influence.pstate[, place, column], d$therapist)
  groups <- nrow(moved)
  unname(sqrt(colSums(moved^2) * groups / (groups - 1)))
}
out$curves <- list(staying = s$pstate[, 1], incidence = s$pstate[, 2], staying_error = s$std.err[, 1], incidence_error = s$std.err[, 2],
                   low = s$lower[, 2], high = s$upper[, 2], staying_clustered = within(1), incidence_clustered = within(2))
single <- summary(survfit(Surv(last, ending > 0) ~ 1, d), times = at)
out$curves$greenwood <- single$std.err

# Weights of the subdistribution hazard.
fg <- finegray(Surv(last, factor(ending, 0:2)) ~ ., d, etype = 1)
out$subdistribution <- list(id = fg$id, start = fg$fgstart, stop = fg$fgstop, weight = fg$fgwt)

# Agreement.
judged <- read.csv(file.path(folder, "judged.csv"))
out$kappa <- psych::cohen.kappa(as.matrix(judged[, c("first", "second")]))$kappa
cat(jsonlite::toJSON(out, digits = NA, auto_unbox = TRUE))
