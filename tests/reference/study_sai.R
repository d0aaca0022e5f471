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
  sites[[name]] <- entry
}
both <- Filter(function(s) !is.null(s$stability), sites)
fit <- metafor::rma(sapply(both, function(s) s$stability$r), sei = sapply(both, function(s) s$stability$std_se), method = "REML", test = "adhoc",
                    control = list(threshold = 1e-12, maxiter = 1000))
pooled <- list(estimate = as.numeric(fit$beta), se = fit$se, low = fit$ci.lb, high = fit$ci.ub, tau2 = fit$tau2, q = fit$QE, k = fit$k)
cat(toJSON(list(r = as.character(getRversion()), sites = sites, stability = pooled), auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
