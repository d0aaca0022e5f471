# Reference values of interactions within clients: mixed models with random intercepts (lme4), and each therapist left out by lm.
# Usage: Rscript within_interaction.R FOLDER   (FOLDER holds one table a data set)   writes JSON
suppressMessages({library(lme4); library(jsonlite)})
options(warn = -1)
folder <- commandArgs(TRUE)[1]
prepared <- function(d) {
  d <- d[complete.cases(d), ]
  d <- d[ave(d$y, d$client, FUN = length) >= 3, ]
  centred <- function(v) v - ave(v, d$client)
  d$t <- centred(d$technique); d$a <- centred(d$alliance); d$ta <- centred(d$t * d$a)
  level <- ave(d$alliance, d$client)
  means <- level[!duplicated(d$client)]
  d$raw <- d$t * (level - mean(means))
  d$cross <- d$raw / sd(means)
  d$p <- centred(d$prior); d$s <- centred(d$session); d$around <- centred(d$y)
  d
}
standardised <- function(d) {
  df <- nrow(d) - length(unique(d$client))
  size <- function(v) sqrt(sum(v^2) / df)
  b <- coef(lm(around ~ 0 + t + a + ta + cross + p + s, data = d))
  y <- size(d$around)
  first <- b[["t"]] * size(d$t) / y
  interaction <- b[["ta"]] * size(d$t) * size(d$a) / y
  c(first, b[["a"]] * size(d$a) / y, interaction, b[["cross"]] * size(d$t) / y, first - interaction, first + interaction)
}
fitted <- function(d) {
  d <- prepared(d)
  mixed <- lmer(y ~ t + a + ta + raw + p + s + (1 | client), data = d, control = lmerControl(optCtrl = list(ftol_abs = 1e-14)))
  whole <- standardised(d)
  therapists <- sort(unique(d$therapist))
  without <- t(sapply(therapists, function(one) standardised(d[d$therapist != one, ])))
  g <- length(therapists)
  list(coefficients = unname(fixef(mixed)[c("t", "a", "ta", "raw")]), standardised = whole,
       errors = sqrt((g - 1) / g * colSums(sweep(without, 2, colMeans(without))^2)), n = nrow(d), clients = length(unique(d$client)))
}
out <- list()
for (file in sort(list.files(folder, "csv$"))) out[[sub(".csv", "", file, fixed = TRUE)]] <- fitted(read.csv(file.path(folder, file)))
cat(toJSON(out, digits = NA, auto_unbox = TRUE))
