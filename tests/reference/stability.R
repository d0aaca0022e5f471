# Reference values of stability over sessions by loops in base R: correlations of pairs of sessions, each therapist left out in turn.
# Usage: Rscript stability.R FOLDER   (FOLDER holds a table of scores for each rater and therapists.csv)   writes JSON
library(jsonlite)
folder <- commandArgs(TRUE)[1]
raters <- c("therapist", "client", "observer")
scores <- lapply(setNames(raters, raters), function(r) as.matrix(read.csv(file.path(folder, paste0(r, ".csv")))))
therapist <- read.csv(file.path(folder, "therapists.csv"))$therapist
mean_r <- function(x, pairs) {
  r <- n <- numeric(0)
  for (p in pairs) { used <- complete.cases(x[, p]); r <- c(r, cor(x[used, p[1]], x[used, p[2]])); n <- c(n, sum(used)) }
  weighted.mean(r, n)
}
left_out <- function(f) { g <- unique(therapist); v <- sapply(g, function(t) f(therapist != t)); sqrt((length(g) - 1) / length(g) * sum((v - mean(v))^2)) }
adjacent <- lapply(1:5, function(t) c(t, t + 1)); late <- list(c(1, 4))
one <- function(x, pairs) {
  z <- atanh(mean_r(x, pairs)); se <- left_out(function(keep) atanh(mean_r(x[keep, ], pairs))); q <- qt(.975, 11) * se
  list(estimate = tanh(z), se_z = se, low = tanh(z - q), high = tanh(z + q))
}
two <- function(x, y, pairs) {
  both <- !is.na(x) & !is.na(y); x[!both] <- NA; y[!both] <- NA
  d <- mean_r(x, pairs) - mean_r(y, pairs); se <- left_out(function(keep) mean_r(x[keep, ], pairs) - mean_r(y[keep, ], pairs))
  list(first = mean_r(x, pairs), second = mean_r(y, pairs), difference = d, se = se, p = 2 * pt(-abs(d / se), 11))
}
result <- list(adjacent = lapply(scores, one, adjacent), late = lapply(scores, one, late),
  contrasts = list(therapist_client = two(scores$therapist, scores$client, adjacent), client_observer = two(scores$client, scores$observer, adjacent)))
cat(toJSON(result, auto_unbox = TRUE, digits = NA))
