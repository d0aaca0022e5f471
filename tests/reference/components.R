# Reference values of the first principal component: psych's principal, prcomp, and boot over therapists and over clients.
# Usage: Rscript components.R FOLDER   (FOLDER holds rows.csv and draws)   writes JSON
suppressMessages({library(psych); library(boot); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
rows <- read.csv(file.path(folder, "rows.csv")); draws <- scan(file.path(folder, "draws"), quiet = TRUE)
x <- as.matrix(rows[names(rows) != "therapist"]); groups <- split(seq_len(nrow(rows)), rows$therapist)
whole <- principal(cor(x), nfactors = 1, n.obs = nrow(x))
loadings <- as.vector(whole$loadings); loadings <- loadings * sign(sum(loadings))
value <- function(data) { e <- eigen(cor(data), symmetric = TRUE); l <- e$vectors[, 1] * sqrt(e$values[1]); c(l * sign(sum(l * loadings)), e$values[1] / ncol(data)) }
told <- function(b) list(se = apply(cbind(atanh(b$t[, 1:6]), qlogis(b$t[, 7])), 2, sd), quantiles = apply(b$t, 2, quantile, c(.025, .1, .5, .9, .975), type = 7), draws = nrow(b$t))
set.seed(1)
therapists <- boot(seq_along(groups), function(g, i) value(x[unlist(groups[g[i]]), ]), draws)
clients <- boot(x, function(d, i) value(d[i, ]), draws)
result <- list(loadings = loadings, share = unname(whole$Vaccounted["Proportion Var", 1]), prcomp_share = prcomp(x, scale. = TRUE)$sdev[1]^2 / 6,
  prcomp_loadings = abs(as.vector(cor(x, prcomp(x, scale. = TRUE)$x[, 1]))), therapists = told(therapists), clients = told(clients))
cat(toJSON(result, auto_unbox = TRUE, digits = NA))
