# Variance of leadership ratings between companies, by kind of member, and with the size of companies: lme4, lmerTest and base R.
# Usage: Rscript study_lq2002_units.R <folder of the real data sets>; prints JSON.
suppressMessages({library(lme4); library(lmerTest); library(jsonlite)})
data <- read.csv(file.path(commandArgs(TRUE)[1], "lq2002_multilevel", "lq2002.csv"))
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), check.conv.singular = "ignore", calc.derivs = FALSE)
data$site <- ifelse(data$COMPID %% 2 == 0, "even-numbers", "odd-numbers"); data$company <- factor(data$COMPID)
z <- function(x) (x - mean(x)) / sd(x)
data$y <- ave(rowMeans(data[sprintf("LEAD%02d", 1:11)]), data$site, FUN = z)
data$significance <- ave(rowMeans(data[sprintf("TSIG%02d", 1:3)]), data$site, FUN = z)
data$hostility <- ave(rowMeans(data[sprintf("HOSTIL%02d", 1:5)]), data$site, FUN = z)
data$members <- ave(data$y, data$company, FUN = length)
sizes <- unique(data[c("site", "company", "members")]); sizes$z <- ave(sizes$members, sizes$site, FUN = z)
data$members_z <- sizes$z[match(data$company, sizes$company)]

share <- function(d, several) {
  fit <- lmer(if (several) y ~ site + (1 | company) else y ~ 1 + (1 | company), d, control = tight)
  v <- as.data.frame(VarCorr(fit))$vcov; v[1] / sum(v)
}
# Wald's exact interval from the F of the analysis of variance given a ratio of variances.
exact <- function(d) {
  n <- as.vector(table(droplevels(d$company))); m <- tapply(d$y, droplevels(d$company), mean); N <- sum(n); a <- length(n)
  within <- sum((d$y - m[as.character(d$company)])^2) / (N - a)
  f <- function(ratio) { w <- n / (1 + n * ratio); sum(w * (m - sum(w * m) / sum(w))^2) / (a - 1) / within }
  end <- function(p) { q <- qf(p, a - 1, N - a); if (f(0) <= q) 0 else { r <- uniroot(function(x) f(x) - q, c(0, 1e3), tol = 1e-12)$root; r / (1 + r) } }
  c(end(.975), end(.025))
}
reactive <- function(d, name, several) {
  d$t <- d[[name]] - if (several) ave(d[[name]], d$site) else mean(d[[name]]); d$t <- d$t / sqrt(mean((d$t - mean(d$t))^2))
  f <- if (several) y ~ site + t + (1 | company) + (0 + t | company) else y ~ t + (1 | company) + (0 + t | company)
  fit <- lmer(f, d, control = tight); v <- as.data.frame(VarCorr(fit)); s <- v$vcov / sum(v$vcov)
  without <- lmer(update(f, . ~ . - (0 + t | company)), d, control = tight); statistic <- 2 * as.numeric(logLik(fit) - logLik(without))
  list(constant = s[which(v$var1 == "(Intercept)")], specific = s[which(v$var1 == "t")],
       p = if (statistic > 1e-6) pchisq(statistic, 1, lower.tail = FALSE) / 2 else 1)
}
size_slope <- function(d, several) {
  rho <- share(d, several); m <- aggregate(d[c("y", "members_z")], list(company = d$company, site = d$site), mean)
  n <- as.vector(table(d$company)[as.character(m$company)]); m$w <- n / (1 + (n - 1) * rho)
  fit <- if (several) lm(y ~ site + members_z, m, weights = w) else lm(y ~ members_z, m, weights = w)
  r <- coef(summary(fit))["members_z", ]; list(estimate = r[["Estimate"]], se = r[["Std. Error"]])
}
product <- function(d, several) {
  d$p <- d$hostility * d$members_z
  fit <- if (several) lmer(y ~ site + hostility + members_z + p + (1 + hostility | company), d, control = tight)
         else lmer(y ~ hostility + members_z + p + (1 + hostility | company), d, control = tight)
  r <- coef(summary(fit))["p", ]; list(estimate = r[["Estimate"]], se = r[["Std. Error"]])
}
of <- function(d, several) list(share = share(d, several), size = size_slope(d, several), product = product(d, several),
                                reactive = lapply(setNames(c("significance", "hostility"), c("significance", "hostility")), function(x) reactive(d, x, several)))
own <- lapply(split(data, data$site), function(d) c(of(d, FALSE), list(exact = exact(d), n = nrow(d), companies = length(unique(d$COMPID)))))
cat(toJSON(list(sites = own, all = of(data, TRUE)), auto_unbox = TRUE, digits = 15))
