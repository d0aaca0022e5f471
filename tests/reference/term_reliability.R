# Reliability of the terms of a polynomial from answers to items: psych's alpha and the formula of Bohrnstedt & Marwell (1978), jackknife
# by therapist in a loop. Argument: folder with clients.csv (client, therapist, x1.., y1.., x, y) and sessions.csv (the same by session).
suppressPackageStartupMessages({library(jsonlite); library(psych)})
folder <- commandArgs(TRUE)[1]
alpha_of <- function(d) suppressWarnings(psych::alpha(as.data.frame(d), warnings = FALSE, check.keys = FALSE)$total$raw_alpha)
terms <- function(d) {
  xs <- grep("^x[0-9]", names(d)); ys <- grep("^y[0-9]", names(d))
  rx <- alpha_of(d[xs]); ry <- alpha_of(d[ys]); s <- function(v) sqrt(mean((v - mean(v))^2)); a <- mean(d$x) / s(d$x); b <- mean(d$y) / s(d$y); r <- cor(d$x, d$y)
  # Variances of products of normal variables in SD: Bohrnstedt & Goldberger (1969) for observed scores and for true scores.
  observed <- a^2 + b^2 + 2 * a * b * r + r^2 + 1; true <- a^2 * ry + b^2 * rx + 2 * a * b * r + r^2 + rx * ry
  square <- function(m, rel) (4 * m^2 * rel + 2 * rel^2) / (4 * m^2 + 2)
  c(rx, ry, square(a, rx), true / observed, square(b, ry))
}
jack <- function(d, f) {
  units <- unique(d$therapist); values <- sapply(units, function(u) f(d[d$therapist != u, ])); g <- length(units)
  list(estimate = f(d), se = sqrt((g - 1) / g * rowSums((values - rowMeans(values))^2)))
}
clients <- read.csv(file.path(folder, "clients.csv")); sessions <- read.csv(file.path(folder, "sessions.csv"))
sessions <- sessions[ave(sessions$client, sessions$client, FUN = length) > 1, ]
within <- function(d) { for (v in setdiff(names(d), c("client", "therapist"))) d[[v]] <- d[[v]] - ave(d[[v]], d$client); terms(d) }
cat(toJSON(list(clients = jack(clients, terms), sessions = jack(sessions, within)), digits = NA), "\n")
