# Reference values of ordinal items: polychoric correlations (psych, polycor, lavaan) and categorical omega (lavaan, semTools).
# Usage: Rscript ordinal.R FOLDER   (FOLDER holds one table a data set)   writes JSON
suppressMessages({library(lavaan); library(semTools); library(psych); library(polycor); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
matrix_of <- function(m) unname(unclass(as.matrix(m)))
steps <- function(th) { names <- sub("\\|.*", "", names(th)); lapply(split(as.numeric(th), factor(names, unique(names))), I) }
corrected <- function(x, y) { t <- table(x, y); t[t == 0] <- .5; polychor(t) }
pairs_of <- function(d, f) { r <- diag(ncol(d)); for (i in 2:ncol(d)) for (j in 1:(i - 1)) r[i, j] <- r[j, i] <- f(d[[i]], d[[j]]); r }

turned <- function(r) { r[1, 2] <- r[2, 1] <- -.95; r }

one <- function(file) {
  d <- read.csv(file); missing <- if (anyNA(d)) "pairwise" else "listwise"
  cor_by <- function(zero) lavCor(d, ordered = names(d), missing = missing, se = "none", output = "cor", zero.add = zero)
  model <- paste("f =~", paste(names(d), collapse = " + "))
  fit <- cfa(model, d, ordered = names(d), estimator = "ULS", std.lv = TRUE, missing = missing,
             control = list(rel.tol = 1e-10))
  poly <- suppressMessages(polychoric(d, smooth = FALSE, global = TRUE))
  halved <- suppressMessages(polychoric(d, smooth = FALSE, global = FALSE, correct = .5))
  list(lavaan = matrix_of(cor_by(c(.5, 0))), lavaan_none = matrix_of(cor_by(c(0, 0))),
       thresholds = steps(lavCor(d, ordered = names(d), missing = missing, se = "none", output = "th")),
       psych = matrix_of(poly$rho), psych_half = matrix_of(halved$rho), polychor = pairs_of(d, polychor), corrected = pairs_of(d, corrected),
       alpha = psych::alpha(matrix_of(cor_by(c(.5, 0))), warnings = FALSE)$total$raw_alpha,
       smoothed = matrix_of(cor.smooth(turned(matrix_of(poly$rho)))),
       converged = lavInspect(fit, "converged"), loadings = as.numeric(lavInspect(fit, "est")$lambda),
       omega = as.numeric(compRelSEM(fit, ord.scale = TRUE, obs.var = TRUE)),
       omega_model = as.numeric(compRelSEM(fit, ord.scale = TRUE, obs.var = FALSE)),
       omega_of_normals = as.numeric(compRelSEM(fit, ord.scale = FALSE, obs.var = TRUE)))
}
files <- list.files(folder, "\\.csv$", full.names = TRUE)
options(warn = -1)
result <- lapply(setNames(files, sub("\\.csv$", "", basename(files))), one)
cat(toJSON(result, digits = 12, auto_unbox = TRUE, na = "null"))
