# A multiverse as plain loops: lm and metafor for every specification, lme4, lavaan, drop1 and sign flips.
# Usage: Rscript multiverse.R FOLDER   (rows.csv, grid.csv, influence.csv, scores.csv, signs.csv, likelihood.csv)   writes JSON
suppressMessages({library(metafor); library(lavaan); library(lme4); library(jsonlite)})
options(warn = -1)
folder <- commandArgs(TRUE)[1]
table <- function(name) read.csv(file.path(folder, name), stringsAsFactors = FALSE)
rows <- table("rows.csv"); grid <- table("grid.csv")

columns <- function(d, one) {
  x <- d[[one$alliance]]
  y <- if (one$change == "difference") d$post - d$intake else d$post
  held <- data.frame(row.names = seq_along(x))
  if (one$change %in% c("intake_held_constant", "residual_gain")) held$intake <- d$intake
  if (one$covariate != "" && one$change != "post_alone") held$covariate <- d[[one$covariate]]
  list(x = x, y = y, held = held, therapist = d$therapist)
}
complete <- function(v) {
  keep <- complete.cases(data.frame(v$x, v$y)) & (if (ncol(v$held)) complete.cases(v$held) else TRUE)
  list(x = v$x[keep], y = v$y[keep], held = v$held[keep, , drop = FALSE], therapist = v$therapist[keep])
}
free <- function(value, held) if (ncol(held)) residuals(lm(value ~ ., cbind(value = value, held))) else value - mean(value)
r_of <- function(v, change) {
  x <- if (change == "residual_gain") v$x else free(v$x, v$held)
  cor(x, free(v$y, v$held))
}
without <- function(v, one) {
  keep <- v$therapist != one
  list(x = v$x[keep], y = v$y[keep], held = v$held[keep, , drop = FALSE], therapist = v$therapist[keep])
}
site_effect <- function(d, one) {
  v <- complete(columns(d, one))
  groups <- sort(unique(v$therapist))
  z <- sapply(groups, function(g) atanh(r_of(without(v, g), one$change)))
  c(r = r_of(v, one$change), se = sqrt((length(groups) - 1) / length(groups) * sum((z - mean(z))^2)), n = length(v$x))
}
specification <- function(one) {
  found <- t(sapply(split(rows, rows$site), site_effect, one))
  if (one$metric == "r") { y <- found[, "r"]; se <- found[, "se"] * (1 - found[, "r"]^2) } else { y <- atanh(found[, "r"]); se <- found[, "se"] }
  fit <- if (one$pooling == "one_effect") rma.uni(y, sei = se, method = "FE") else
    rma.uni(y, sei = se, method = "REML", test = "adhoc", control = list(threshold = 1e-14, maxiter = 10000))
  back <- if (one$metric == "r") identity else tanh
  c(estimate = back(as.numeric(fit$beta)), ci_low = back(fit$ci.lb), ci_high = back(fit$ci.ub), tau2 = fit$tau2, n_clients = sum(found[, "n"]), n_sites = fit$k)
}
specifications <- lapply(seq_len(nrow(grid)), function(i) as.list(specification(grid[i, ])))

# Therapists as a random intercept, at each site.
random <- lapply(split(rows, rows$site), function(d) {
  v <- complete(columns(d, list(alliance = "client", change = "intake_held_constant", covariate = "")))
  sd_n <- function(a) sqrt(mean((a - mean(a))^2))
  x <- free(v$x, v$held); y <- free(v$y, v$held)
  fit <- lmer(y ~ x + (1 | t), data.frame(x = x / sd_n(x), y = y / sd_n(y), t = v$therapist), control = lmerControl(optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-14)))
  list(estimate = unname(fixef(fit)["x"]), se = sqrt(vcov(fit)["x", "x"]))
})

# Clients with some of the values: lavaan's full information maximum likelihood, therapists left out in turn.
d <- table("likelihood.csv")
d <- d[!is.na(d$client) | !is.na(d$post), ]
moments <- function(d) lavInspect(sem("client ~~ post + intake\npost ~~ intake\nclient ~ 1\npost ~ 1\nintake ~ 1", d, missing = "fiml",
  control = list(rel.tol = 1e-14, eval.max = 2000, iter.max = 2000)), "implied")$cov[c("client", "post", "intake"), c("client", "post", "intake")]
scaled <- d
for (name in c("client", "post", "intake")) scaled[[name]] <- scaled[[name]] / sd(scaled[[name]], na.rm = TRUE)
upper <- function(m) m[lower.tri(m, diag = TRUE)]
z_of <- function(u) { m <- matrix(0, 3, 3); m[lower.tri(m, diag = TRUE)] <- u; m <- m + t(m) - diag(diag(m)); p <- -cov2cor(solve(m)); atanh(p[1, 2]) }
point <- upper(moments(scaled))
left <- sapply(sort(unique(scaled$therapist)), function(g) upper(moments(scaled[scaled$therapist != g, ])))
G <- ncol(left)
spread <- (G - 1) / G * tcrossprod(left - rowMeans(left))
slope <- sapply(seq_along(point), function(i) { s <- replace(0 * point, i, 1e-5); (z_of(point + s) - z_of(point - s)) / 2e-5 })
likelihood <- list(estimate = tanh(z_of(point)), se_z = sqrt(as.numeric(t(slope) %*% spread %*% slope)), n = nrow(d))

# The variance that decisions explain.
choices <- table("influence.csv")
nodes <- setdiff(names(choices), "y")
for (name in nodes) choices[[name]] <- factor(choices[[name]])
whole <- sum((choices$y - mean(choices$y))^2)
main <- lm(y ~ ., choices)
lost <- drop1(main, test = "F")
pairs <- combn(nodes, 2, simplify = FALSE)
added <- sapply(pairs, function(p) anova(main, update(main, as.formula(paste(". ~ . +", paste(p, collapse = ":")))))[2, "Sum of Sq"])
influence <- list(
  main = as.list(setNames(lost[nodes, "Sum of Sq"] / whole, nodes)),
  total = as.list(setNames(sapply(nodes, function(n) { same <- interaction(choices[setdiff(nodes, n)], drop = TRUE); sum((choices$y - ave(choices$y, same))^2) }) / whole, nodes)),
  pairs = setNames(as.list(added / whole), sapply(pairs, paste, collapse = " ")),
  all_main = 1 - deviance(main) / whole,
  all_pairs = 1 - deviance(lm(y ~ .^2, choices)) / whole)

# Joint tests, one flip after the other.
scores <- table("scores.csv"); signs <- as.matrix(table("signs.csv"))
values <- as.matrix(scores[setdiff(names(scores), "unit")]); unit <- scores$unit + 1
sums <- rowsum(values, unit)
size <- sqrt(colSums(sums^2))
z <- colSums(values) / size
share <- function(v) max(mean(v > qnorm(.975)), mean(v < -qnorm(.975)))
any <- middle <- most <- numeric(nrow(signs)); each <- 0 * z; adjusted <- 0 * z
for (b in seq_len(nrow(signs))) {
  flipped <- colSums(values * signs[b, unit]) / size
  any[b] <- max(abs(flipped)); middle[b] <- abs(median(flipped)); most[b] <- share(flipped)
  each <- each + (abs(flipped) >= abs(z) - 1e-9); adjusted <- adjusted + (any[b] >= abs(z) - 1e-9)
}
p <- function(null, value) (1 + sum(null >= value - 1e-9)) / (nrow(signs) + 1)
flips <- list(p_values = unname((1 + each) / (nrow(signs) + 1)), p_adjusted = unname((1 + adjusted) / (nrow(signs) + 1)),
  p_any = p(any, max(abs(z))), p_median = p(middle, abs(median(z))), p_share = p(most, share(z)))
cat(toJSON(list(specifications = specifications, random = random, likelihood = likelihood, influence = influence, flips = flips), auto_unbox = TRUE, digits = NA))
