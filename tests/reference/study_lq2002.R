# Path model leadership -> task significance -> hostility in every company, pooled over companies; reliability of the three scales,
# one factor of leadership, and its invariance over companies.
# Usage: Rscript study_lq2002.R <folder of the real data sets>; prints JSON.
suppressMessages({library(lavaan); library(metafor); library(psych); library(jsonlite)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
source(file.path(here, "polished.R"))
data <- read.csv(file.path(commandArgs(TRUE)[1], "lq2002_multilevel", "lq2002.csv"))
scales <- list(lq_leadership = sprintf("LEAD%02d", 1:11), lq_task_significance = sprintf("TSIG%02d", 1:3), lq_hostility = sprintf("HOSTIL%02d", 1:5))
data$leadership <- rowMeans(data[scales[[1]]])
data$significance <- rowMeans(data[scales[[2]]])
data$hostility <- rowMeans(data[scales[[3]]])
data$row <- seq_len(nrow(data))
model <- "significance ~ a*leadership
          hostility ~ b*significance + c*leadership
          indirect := a*b
          total := c + a*b"
labels <- c("a", "b", "c", "indirect", "total")
# The model leaves nothing over, so that its paths are regressions; their errors leave out each client in turn.
paths <- function(rows, standardised = FALSE) {
  s <- cov(rows[c("leadership", "significance", "hostility")])
  if (standardised) s <- cov2cor(s)
  a <- s[1, 2] / s[1, 1]; slopes <- solve(s[1:2, 1:2], s[1:2, 3])
  setNames(c(a, slopes[2], slopes[1], a * slopes[2], slopes[1] + a * slopes[2]), labels)
}
path_errors <- function(rows, standardised = FALSE) {
  n <- nrow(rows)
  without <- sapply(seq_len(n), function(i) paths(rows[-i, ], standardised))
  as.list(sqrt((n - 1) / n * rowSums((without - rowMeans(without))^2)))
}
sites <- list(); alphas <- list()
for (company in sort(unique(data$COMPID))) {
  rows <- data[data$COMPID == company, ]
  name <- sprintf("company-%02d", company)
  alphas[[name]] <- lapply(scales, function(items) {
    a <- suppressMessages(suppressWarnings(psych::alpha(rows[items], check.keys = FALSE, warnings = FALSE)))
    covariance <- cov(rows[items]); k <- length(items)
    # psych leaves out an item that everybody answered alike; the definition keeps it.
    raw <- if (all(diag(covariance) > 0)) a$total$raw_alpha else k / (k - 1) * (1 - sum(diag(covariance)) / sum(covariance))
    list(alpha = raw, mean = mean(rowMeans(rows[items])), n = nrow(rows))
  })
  if (nrow(rows) < 15) next
  fit <- sem(model, data = rows, fixed.x = FALSE, meanstructure = TRUE)
  raw <- parameterEstimates(fit); std <- standardizedSolution(fit)
  pick <- function(table, column) setNames(as.list(table[match(labels, table$label), column]), labels)
  stopifnot(all.equal(unlist(pick(raw, "est")), paths(rows), tolerance = 1e-6), all.equal(unlist(pick(std, "est.std")), paths(rows, TRUE), tolerance = 1e-6))
  sites[[name]] <- list(n = nrow(rows), estimate = pick(raw, "est"), se = path_errors(rows), std = pick(std, "est.std"), std_se = path_errors(rows, TRUE))
}
pool <- function(value, error) lapply(setNames(labels, labels), function(label) {
  y <- sapply(sites, function(s) s[[value]][[label]]); se <- sapply(sites, function(s) s[[error]][[label]])
  fit <- rma(y, sei = se, method = "REML", test = "adhoc", control = list(threshold = 1e-12, maxiter = 1000))
  list(estimate = as.numeric(fit$beta), se = fit$se, low = fit$ci.lb, high = fit$ci.ub, tau2 = fit$tau2, q = fit$QE, k = fit$k)
})

# Reliability of every scale in every company; standard errors leave out each member, those of alpha are of ln(1 - alpha).
# lavaan prints matrices that are not positive definite.
quiet <- function(x) { capture.output(value <- suppressMessages(suppressWarnings(x))); value }
coefficients <- function(x) {
  s <- cov(x); k <- ncol(x); r <- suppressWarnings(cov2cor(s))
  rest <- sapply(seq_len(k), function(i) sum(s[i, -i]) / sqrt(s[i, i] * sum(s[-i, -i])))
  c(log_alpha = log(1 - k / (k - 1) * (1 - sum(diag(s)) / sum(s))), r = mean(r[lower.tri(r)]), rest = rest)
}
jackknife <- function(x) {
  n <- nrow(x)
  without <- sapply(seq_len(n), function(i) coefficients(x[-i, ]))
  sqrt((n - 1) / n * rowSums((without - rowMeans(without))^2))
}
one_factor <- function(x) list(model = paste("f =~", paste(colnames(x), collapse = " + ")), data = as.data.frame(x), std.lv = TRUE)
unsaid <- list(se = "none", test = "none", baseline = FALSE)
omega_of <- function(fit) {
  est <- lavInspect(fit, "est")
  sum(est$lambda)^2 / (sum(est$lambda)^2 + sum(diag(est$theta)))
}
reliability_of <- function(rows, items) {
  x <- as.matrix(rows[items]); found <- coefficients(x); error <- jackknife(x)
  entry <- list(n = nrow(x), k = ncol(x), alpha = 1 - exp(found[["log_alpha"]]), alpha_error = error[["log_alpha"]],
                constant = sum(apply(x, 2, sd) == 0), at_maximum = mean(rowMeans(x) == max_answer[[items[1]]]))
  # lavaan refuses a sample covariance matrix that is not positive definite; negative variances are its own.
  if (entry$constant > 0) return(entry)
  entry <- c(entry, list(r = found[["r"]], r_error = error[["r"]], rest = unname(found[-(1:2)]), rest_error = unname(error[-(1:2)])))
  fit <- tryCatch(quiet(do.call("cfa", c(one_factor(x), unsaid, list(optim.method = "BFGS", control = list(reltol = 1e-16, maxit = 5000))))),
                  error = function(e) NULL)
  usable <- !is.null(fit) && lavInspect(fit, "converged")
  if (usable) entry$smallest_residual <- min(diag(lavInspect(fit, "est")$theta))
  if (usable && entry$smallest_residual > 0) entry$omega <- omega_of(fit)
  entry
}
max_answer <- c(LEAD01 = 5, TSIG01 = 5, HOSTIL01 = 4)
companies <- sort(unique(data$COMPID))
named <- function(values) setNames(values, sprintf("company-%02d", companies))
reliability <- named(lapply(companies, function(company) lapply(scales, function(items) reliability_of(data[data$COMPID == company, ], items))))
pool_values <- function(y, se) {
  fit <- rma(y, sei = se, method = "REML", test = "adhoc", control = list(threshold = 1e-12, maxiter = 1000))
  list(estimate = as.numeric(fit$beta), se = fit$se, low = fit$ci.lb, high = fit$ci.ub, tau2 = fit$tau2, q = fit$QE, k = fit$k)
}
pooled_reliability <- lapply(setNames(names(scales), names(scales)), function(scale) {
  all <- lapply(reliability, function(one) one[[scale]])
  with_alpha <- Filter(function(one) one$constant == 0, all)
  with_r <- Filter(function(one) !is.null(one$r) && is.finite(one$r_error), all)
  list(alpha = pool_values(sapply(with_alpha, function(one) -log(1 - one$alpha)), sapply(with_alpha, function(one) one$alpha_error)),
       r = pool_values(sapply(with_r, function(one) atanh(one$r)), sapply(with_r, function(one) one$r_error / (1 - one$r^2))))
})

# One factor of leadership: in the largest company, and from the covariance within companies.
lead <- scales[[1]]
wanted <- c("chisq", "df", "pvalue", "cfi", "tli", "rmsea", "rmsea.ci.lower", "rmsea.ci.upper", "srmr", "aic", "bic")
described <- function(fit) {
  std <- standardizedSolution(fit); std <- std[std$op == "=~", ]
  list(n = lavInspect(fit, "nobs"), fit = as.list(unclass(fitMeasures(fit, wanted))), loadings = std$est.std, loading_errors = std$se)
}
sizes <- table(data$COMPID)
largest <- as.numeric(names(sizes)[which.max(sizes)])
x <- as.matrix(data[data$COMPID == largest, lead])
own <- polished(one_factor(x))
logs <- sapply(seq_len(nrow(x)), function(i) log(1 - omega_of(do.call("cfa", c(one_factor(x[-i, ]), unsaid, list(control = list(rel.tol = 1e-12)))))))
structure <- list(largest = c(list(company = sprintf("company-%02d", largest), omega_error = sqrt((nrow(x) - 1) / nrow(x) * sum((logs - mean(logs))^2))),
                              described(own)))
centred <- as.matrix(data[lead] - sapply(data[lead], function(column) ave(column, data$COMPID)))
df_within <- nrow(data) - length(companies)
within <- crossprod(centred) / df_within
# As of one sample with as many degrees of freedom; its likelihood divides by n - 1.
structure$within <- described(polished(list(model = one_factor(centred)$model, sample.cov = within, sample.nobs = df_within + 1, std.lv = TRUE)))
structure$within$n_clients <- nrow(data)

# Invariance over the companies with three members an item or more, the largest first.
large <- names(sizes)[sizes >= 3 * length(lead)]
rows <- data[data$COMPID %in% large, c("COMPID", lead)]
rows <- rows[order(rows$COMPID != largest), ]
step <- function(...) {
  fit <- cfa(one_factor(rows[lead])$model, rows, group = "COMPID", std.lv = TRUE, meanstructure = TRUE, se = "none", ...)
  as.list(unclass(fitMeasures(fit, c("chisq", "df", "pvalue", "cfi", "rmsea", "srmr"))))
}
invariance <- list(n_sites = length(large), n_clients = nrow(rows), configural = step(), metric = step(group.equal = "loadings"),
                   scalar = step(group.equal = c("loadings", "intercepts")),
                   partial_scalar = step(group.equal = c("loadings", "intercepts"), group.partial = "LEAD06 ~ 1"))
cat(toJSON(list(r = as.character(getRversion()), sites = sites, alphas = alphas, raw = pool("estimate", "se"), std = pool("std", "std_se"),
                reliability = reliability, pooled_reliability = pooled_reliability, structure = structure, invariance = invariance),
           auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
