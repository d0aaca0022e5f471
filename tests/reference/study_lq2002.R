# Path model leadership -> task significance -> hostility in every company, pooled over companies.
# Usage: Rscript study_lq2002.R <folder of the real data sets>; prints JSON.
suppressMessages({library(lavaan); library(metafor); library(psych); library(jsonlite)})
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
  sites[[name]] <- list(n = nrow(rows), estimate = pick(raw, "est"), se = pick(raw, "se"), std = pick(std, "est.std"), std_se = pick(std, "se"))
}
pool <- function(value, error) lapply(setNames(labels, labels), function(label) {
  y <- sapply(sites, function(s) s[[value]][[label]]); se <- sapply(sites, function(s) s[[error]][[label]])
  fit <- rma(y, sei = se, method = "REML", test = "adhoc", control = list(threshold = 1e-12, maxiter = 1000))
  list(estimate = as.numeric(fit$beta), se = fit$se, low = fit$ci.lb, high = fit$ci.ub, tau2 = fit$tau2, q = fit$QE, k = fit$k)
})
cat(toJSON(list(r = as.character(getRversion()), sites = sites, alphas = alphas, raw = pool("estimate", "se"), std = pool("std", "std_se")),
           auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
