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
# Slope and correlation by full information, people with one of two scores included: EM for the bivariate normal.
stability <- function(x, y) {
  both <- !is.na(x) & !is.na(y); alone_x <- x[!is.na(x) & is.na(y)]; alone_y <- y[is.na(x) & !is.na(y)]
  n <- sum(both) + length(alone_x) + length(alone_y)
  fixed <- c(sum(x[both]), sum(y[both]), sum(x[both]^2), sum(y[both]^2), sum(x[both] * y[both]))
  mu <- c(mean(x[both]), mean(y[both])); S <- cov(cbind(x, y)[both, ])
  repeat {
    to_y <- S[1, 2] / S[1, 1]; rest_y <- S[2, 2] - to_y * S[1, 2]; guess_y <- mu[2] + to_y * (alone_x - mu[1])
    to_x <- S[1, 2] / S[2, 2]; rest_x <- S[1, 1] - to_x * S[1, 2]; guess_x <- mu[1] + to_x * (alone_y - mu[2])
    total <- (fixed + c(sum(alone_x) + sum(guess_x), sum(alone_y) + sum(guess_y),
                        sum(alone_x^2) + sum(guess_x^2) + length(guess_x) * rest_x, sum(alone_y^2) + sum(guess_y^2) + length(guess_y) * rest_y,
                        sum(alone_x * guess_y) + sum(guess_x * alone_y))) / n
    new <- matrix(c(total[3] - total[1]^2, rep(total[5] - total[1] * total[2], 2), total[4] - total[2]^2), 2)
    moved <- max(abs(new - S), abs(total[1:2] - mu)); S <- new; mu <- total[1:2]
    if (moved < 1e-13) break
  }
  c(slope = S[1, 2] / S[1, 1], r = S[1, 2] / sqrt(S[1, 1] * S[2, 2]))
}
sites <- list()
for (label in sort(unique(data$study), method = "radix")) {
  rows <- data[data$study == label, ]
  name <- gsub(".", "-", tolower(label), fixed = TRUE)
  score_of <- score(rows)
  entry <- list(all = describe_rows(rows), n_rows = nrow(rows), n_scored = sum(!is.na(score_of)), mean = mean(score_of, na.rm = TRUE),
                sd = sd(score_of, na.rm = TRUE))
  # A person without a number, or a number that stands twice on one occasion, is a person of its own.
  person <- ifelse(is.na(rows$id) | duplicated(rows[c("id", "time")]), paste0("L", seq_len(nrow(rows))), paste0("P", rows$id))
  first <- rows$time == 1; second <- rows$time == 2
  if (any(second)) {
    both <- merge(data.frame(person = person[first], x = score_of[first]), data.frame(person = person[second], y = score_of[second]), all = TRUE)
    both <- both[!is.na(both$x) | !is.na(both$y), ]
    n <- nrow(both); found <- stability(both$x, both$y)
    fit <- sem("y ~ x", both, fixed.x = FALSE, missing = "ml")
    stopifnot(all.equal(unname(found), c(coef(fit)[["y~x"]], standardizedSolution(fit)$est.std[1]), tolerance = 1e-5))
    without <- sapply(seq_len(n), function(i) stability(both$x[-i], both$y[-i]))  # errors leave out each person in turn
    entry$stability <- list(n = n, n_both = sum(complete.cases(both)), r = found[["r"]], slope = found[["slope"]],
                            std_se = sqrt((n - 1) / n * sum((without["r", ] - mean(without["r", ]))^2)))
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
