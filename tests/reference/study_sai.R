# Reliability of the state anxiety items in every study, and stability from the first to the second occasion.
# Usage: Rscript study_sai.R <folder of the real data sets>; prints JSON.
suppressMessages({library(psych); library(lavaan); library(jsonlite)})
data <- read.csv(file.path(commandArgs(TRUE)[1], "psychtools_sai", "sai.csv"))
items <- names(data)[4:23]
reversed <- c(1, 2, 5, 8, 10, 11, 15, 16, 19, 20)
data[items[reversed]] <- 5 - data[items[reversed]]
describe_rows <- function(rows) {
  a <- suppressMessages(suppressWarnings(psych::alpha(rows[items], check.keys = FALSE, warnings = FALSE)))
  covariance <- cov(rows[items], use = "pairwise")
  rest <- sapply(seq_along(items), function(i) sum(covariance[i, -i]) / sqrt(covariance[i, i] * sum(covariance[-i, -i])))
  list(alpha = a$total$raw_alpha, n_complete = sum(complete.cases(rows[items])), item_rest = rest, n_items = unname(colSums(!is.na(rows[items]))),
       item_mean = unname(colMeans(rows[items], na.rm = TRUE)))
}
score <- function(rows) {
  answered <- rowSums(!is.na(rows[items]))
  ifelse(answered >= 0.8 * length(items), rowMeans(rows[items], na.rm = TRUE), NA)
}
# Alpha and omega total of the first occasion, clients with all answers; standard errors of ln(1 - coefficient) leave out each client.
first_occasion <- function(rows) {
  x <- as.matrix(rows[rows$time == 1, items]); x <- x[complete.cases(x), , drop = FALSE]
  n <- nrow(x); k <- ncol(x)
  alpha_of <- function(s) k / (k - 1) * (1 - sum(diag(s)) / sum(s))
  if (n < 10) return(list(n = n))
  logs <- sapply(seq_len(n), function(i) log(1 - alpha_of(cov(x[-i, ]))))
  found <- list(n = n, alpha = alpha_of(cov(x)), alpha_error = sqrt((n - 1) / n * sum((logs - mean(logs))^2)))
  fit <- tryCatch(lavaan::cfa(paste("f =~", paste(items, collapse = " + ")), as.data.frame(x), std.lv = TRUE), error = function(e) NULL)
  if (!is.null(fit) && lavInspect(fit, "converged") && min(diag(lavInspect(fit, "est")$theta)) > 0) {
    est <- lavInspect(fit, "est")
    found$omega <- sum(est$lambda)^2 / (sum(est$lambda)^2 + sum(diag(est$theta)))
  }
  found
}
sites <- list()
for (label in sort(unique(data$study), method = "radix")) {
  rows <- data[data$study == label, ]
  name <- gsub(".", "-", tolower(label), fixed = TRUE)
  score_of <- score(rows)
  entry <- list(all = describe_rows(rows), n_rows = nrow(rows), n_scored = sum(!is.na(score_of)), mean = mean(score_of, na.rm = TRUE),
                sd = sd(score_of, na.rm = TRUE))
  first <- rows[rows$time == 1 & !is.na(rows$id), ]; second <- rows[rows$time == 2 & !is.na(rows$id), ]
  second <- second[!duplicated(second$id), ]
  if (nrow(second)) {
    both <- merge(data.frame(id = first$id, x = score(first)), data.frame(id = second$id, y = score(second)))
    both <- both[complete.cases(both), ]
    std <- standardizedSolution(sem("y ~ x", both, fixed.x = FALSE))[1, ]
    entry$stability <- list(n = nrow(both), r = cor(both$x, both$y), slope = unname(coef(lm(y ~ x, both))[2]), std_se = std$se)
  }
  entry$first <- first_occasion(rows)
  sites[[name]] <- entry
}
alphas <- Filter(function(s) !is.null(s$first$alpha), sites)
fit <- metafor::rma(-log(1 - sapply(alphas, function(s) s$first$alpha)), sei = sapply(alphas, function(s) s$first$alpha_error), method = "REML",
                    test = "adhoc", control = list(threshold = 1e-12, maxiter = 1000))
reliability <- list(estimate = 1 - exp(-as.numeric(fit$beta)), se = fit$se, low = 1 - exp(-fit$ci.lb), high = 1 - exp(-fit$ci.ub), tau2 = fit$tau2,
                    q = fit$QE, k = fit$k)
both <- Filter(function(s) !is.null(s$stability), sites)
fit <- metafor::rma(sapply(both, function(s) s$stability$r), sei = sapply(both, function(s) s$stability$std_se), method = "REML", test = "adhoc",
                    control = list(threshold = 1e-12, maxiter = 1000))
pooled <- list(estimate = as.numeric(fit$beta), se = fit$se, low = fit$ci.lb, high = fit$ci.ub, tau2 = fit$tau2, q = fit$QE, k = fit$k)
cat(toJSON(list(r = as.character(getRversion()), sites = sites, stability = pooled, reliability = reliability), auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
