# Coefficients of the alliance given intake and early symptoms after imputation by mice (2l.lmer, with therapists' means), by data set.
suppressPackageStartupMessages(library(mice))
library(jsonlite)
all <- read.csv(file.path(commandArgs(trailingOnly = TRUE)[1], "incomplete.csv"))
one <- function(seed) {
  data <- subset(all, data_set == seed, select = -data_set)
  method <- c(therapist = "", intake = "", alliance = "2l.lmer", early = "2l.lmer", final = "2l.lmer")
  predictors <- matrix(3, 5, 5, dimnames = list(names(data), names(data)))
  predictors[, "therapist"] <- -2
  diag(predictors) <- 0
  imputed <- suppressWarnings(mice(data, m = 10, maxit = 5, method = method, predictorMatrix = predictors, seed = 1 + seed, printFlag = FALSE))
  fits <- lapply(1:10, function(i) { fit <- lm(final ~ alliance + early + intake, complete(imputed, i)); c(coef(fit)["alliance"], vcov(fit)["alliance", "alliance"]) })
  pooled <- pool.scalar(sapply(fits, `[`, 1), sapply(fits, `[`, 2), n = nrow(data), k = 4)
  correlations <- sapply(1:10, function(i) with(complete(imputed, i), cor(alliance, final)))
  c(pooled$qbar, sqrt(pooled$t), mean(correlations))
}
values <- sapply(sort(unique(all$data_set)), one)
cat(toJSON(list(slope = unname(values[1, ]), std_error = unname(values[2, ]), correlation = unname(values[3, ])), digits = NA, auto_unbox = TRUE))
