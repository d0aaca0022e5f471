# Reference values of the tables of therapist factors: base R (lm of several outcomes), lme4, lmerTest and metafor.
# Usage: Rscript therapist_factors.R FOLDER   (FOLDER holds clients.csv and sessions.csv)   writes JSON
suppressMessages({library(lme4); library(lmerTest); library(metafor); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
clients <- read.csv(file.path(folder, "clients.csv")); sessions <- read.csv(file.path(folder, "sessions.csv"))
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), check.conv.singular = "ignore", calc.derivs = FALSE)
scales <- c("total", "task", "goal", "bond"); bound <- .1
z <- function(x) (x - mean(x)) / sd(x)
within <- function(x, g) ave(x, g, FUN = z)
of_therapists <- function(d, name) { t <- unique(d[c("therapist", name)]); setNames(z(t[[name]]), t$therapist)[as.character(d$therapist)] }

prepared <- function(d, s) {  # one site
  for (name in scales) d[[name]] <- z(d[[name]])
  d$dominance_c <- z(d$dominance_client); d$severity_c <- z(d$severity); d$social_c <- z(d$social)
  for (name in c("training", "dominance_therapist", "alliance_training")) d[[paste0(name, "_t")]] <- of_therapists(d, name)
  s$alliance <- z(s$total); s$at <- (s$session - 1) / 10
  list(d = d, s = merge(s, d[c("client", "therapist", "alliance_training_t", "dominance_c", "severity_c", "social_c")], by = "client"))
}
share_between <- function(d, several) {
  d$m <- rowMeans(d[scales])
  fit <- if (several) lmer(m ~ factor(site) + (1 | therapist), d, control = tight) else lmer(m ~ 1 + (1 | therapist), d, control = tight)
  v <- as.data.frame(VarCorr(fit))$vcov; v[1] / sum(v)
}
level <- function(d, name, several) {
  rho <- share_between(d, several)
  m <- aggregate(d[c(scales, name)], list(therapist = d$therapist, site = d$site), mean)
  n <- as.vector(table(d$therapist)[as.character(m$therapist)]); m$w <- n / (1 + (n - 1) * rho)
  # R has no covariances of weighted regressions of several outcomes: rows times the root of their weight are the same.
  root <- sqrt(m$w); Y <- as.matrix(m[scales]) * root; X0 <- (if (several) model.matrix(~ factor(site), m) else matrix(1, nrow(m))) * root
  x <- m[[name]] * root; fit <- lm(Y ~ 0 + X0 + x)
  b <- coef(fit)["x", ]; V <- vcov(fit); at <- grep(":x$", rownames(V)); V <- V[at, at]
  k <- c(0, .5, .5, -1); df <- fit$df.residual
  Y3 <- Y[, 2:4]; three <- lm(Y3 ~ 0 + X0 + x); none <- lm(Y3 ~ 0 + X0)
  est <- c(b, contrast = sum(k * b)); se <- c(sqrt(diag(V)), sqrt(drop(k %*% V %*% k)))
  list(estimate = unname(est), se = unname(se), low = unname(est - qt(.975, df) * se), high = unname(est + qt(.975, df) * se), df = df,
       p_equivalence = unname(pmax(pt(-(est + bound) / se, df), pt(-(bound - est) / se, df))), cov_task_bond = V[2, 4],
       p_joint = anova(three, none, test = "Hotelling-Lawley")$`Pr(>F)`[2])
}
pooled <- function(found, i) {
  fit <- rma(yi = sapply(found, function(one) one$estimate[i]), sei = sapply(found, function(one) one$se[i]), method = "REML", test = "adhoc",
             control = list(threshold = 1e-12, maxiter = 1000))
  list(estimate = as.numeric(fit$beta), se = fit$se, low = fit$ci.lb, high = fit$ci.ub)
}
term <- function(fit, name) { r <- coef(summary(fit))[name, ]; list(estimate = r[["Estimate"]], se = r[["Std. Error"]], df = r[["df"]]) }
interaction_of <- function(d, several) {
  d$p <- d$dominance_c * d$dominance_therapist_t
  fit <- if (several) lmer(total ~ factor(site) + dominance_c + dominance_therapist_t + p + (1 + dominance_c | therapist), d, control = tight)
         else lmer(total ~ dominance_c + dominance_therapist_t + p + (1 + dominance_c | therapist), d, control = tight)
  term(fit, "p")
}
course_of <- function(s, several) {
  s$p <- s$alliance_training_t * s$at
  fit <- if (several) lmer(alliance ~ factor(site) * at + alliance_training_t + p + (1 + at | therapist) + (1 + at | client), s, control = tight)
         else lmer(alliance ~ at + alliance_training_t + p + (1 + at | therapist) + (1 + at | client), s, control = tight)
  term(fit, "p")
}
before_after_of <- function(s) {
  s <- s[ave(s$after, s$therapist, FUN = function(x) length(unique(x))) == 2, ]; s$at <- s$at - mean(s$at); s$p <- s$after * s$at
  fit <- lmer(alliance ~ at + after + p + (1 + after | therapist) + (1 + at | client), s, control = tight)
  list(level = term(fit, "after"), slope = term(fit, "p"))
}
shares_of <- function(fit) { v <- as.data.frame(VarCorr(fit)); v <- v[is.na(v$var2), ]; setNames(as.list(v$vcov / sum(v$vcov)), paste(v$grp, v$var1)) }
session_shares <- function(s, several, fixed) {
  s$site_ <- factor(s$site)
  f <- paste("alliance ~", if (several) "site_" else "1", if (fixed) "+ severity_c + social_c", "+ (1 | therapist) + (1 | client)")
  shares_of(lmer(as.formula(f), s, control = tight))
}
reactive_of <- function(d) {  # all sites: shares, test of the slopes, and the profile of the slopes' share
  d$trait <- d$dominance_c - ave(d$dominance_c, d$site); d$trait <- d$trait / sqrt(mean((d$trait - mean(d$trait))^2)); d$site_ <- factor(d$site)
  f <- total ~ site_ + trait + (1 | therapist) + (0 + trait | therapist)
  fit <- lmer(f, d, control = tight); without <- lmer(total ~ site_ + trait + (1 | therapist), d, control = tight)
  v <- as.data.frame(VarCorr(fit)); shares <- v$vcov / sum(v$vcov)
  intercept <- which(v$var1 == "(Intercept)"); slope <- which(v$var1 == "trait")
  parsed <- lFormula(f, d, REML = TRUE, control = tight); dev <- do.call(mkLmerDevfun, parsed); limit <- dev(getME(fit, "theta")) + qchisq(.95, 1)
  first <- names(parsed$reTrms$cnms)[1]; order <- if (parsed$reTrms$cnms[[1]][1] == "trait") c(slope = 1, intercept = 2) else c(intercept = 1, slope = 2)
  trace <- function(value) {
    inner <- function(part) { share <- c(slope = value, intercept = (1 - value) * part); rest <- 1 - sum(share); theta <- numeric(2)
      theta[order["slope"]] <- sqrt(share["slope"] / rest); theta[order["intercept"]] <- sqrt(share["intercept"] / rest); dev(theta) }
    min(optimize(inner, c(0, 1 - 1e-9), tol = 1e-12)$objective, inner(0)) - limit
  }
  low <- if (trace(1e-9) > 0) uniroot(trace, c(1e-9, shares[slope]), tol = 1e-10)$root else 0
  statistic <- 2 * as.numeric(logLik(fit) - logLik(without))
  list(constant = shares[intercept], specific = shares[slope], between_client = shares[3], low = low,
       high = uniroot(trace, c(shares[slope], 1 - 1e-7), tol = 1e-10)$root, p = if (statistic > 0) pchisq(statistic, 1, lower.tail = FALSE) / 2 else 1)
}
noncentral <- function(df) uniroot(function(d) pt(qt(.975, df), df, d, lower.tail = FALSE) + pt(-qt(.975, df), df, d) - .8, c(.1, 30), tol = 1e-12)$root

names_ <- sort(unique(clients$site)); sites <- lapply(names_, function(one) {
  own <- clients[clients$site == one, ]; prepared(own, sessions[sessions$site == one, ]) }); names(sites) <- names_
D <- do.call(rbind, lapply(sites, `[[`, "d")); S <- do.call(rbind, lapply(sites, `[[`, "s"))
levels_ <- lapply(sites, function(one) level(one$d, "training_t", FALSE))
result <- list(
  level = levels_, level_all = level(D, "training_t", TRUE), pooled_contrast = pooled(levels_, 5), pooled_bond = pooled(levels_, 4),
  interaction = lapply(sites, function(one) interaction_of(one$d, FALSE)), interaction_all = interaction_of(D, TRUE),
  course = lapply(sites, function(one) course_of(one$s, FALSE)), course_all = course_of(S, TRUE),
  before_after = lapply(sites, function(one) before_after_of(one$s)),
  shares = lapply(sites, function(one) session_shares(one$s, FALSE, FALSE)), shares_all = session_shares(S, TRUE, FALSE),
  shares_held_all = session_shares(S, TRUE, TRUE), reactive_all = reactive_of(D),
  noncentral = sapply(c(3, 7, 10, 28, 58), noncentral), detectable_r_9 = { d <- noncentral(7); d / sqrt(9 + d^2) })
cat(toJSON(result, auto_unbox = TRUE, digits = 15, na = "string"))
