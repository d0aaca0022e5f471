# Correlations of a client factor with several instruments of the alliance, from rows of sessions: base R and metafor.
# Argument: folder with scores.csv (site, client, therapist, session, instrument, score) and clients.csv (site, client, factor).
suppressPackageStartupMessages({library(jsonlite); library(metafor)})
folder <- commandArgs(TRUE)[1]
scores <- read.csv(file.path(folder, "scores.csv")); clients <- read.csv(file.path(folder, "clients.csv"))
scores <- scores[scores$session <= 5, ]
order <- c("wai_36", "wai_sr", "haq_2"); bound <- 0.1
guarded <- function(...) rma.uni(..., method = "REML", test = "adhoc", control = list(threshold = 1e-14, maxiter = 10000))

# Three numbers of one pair: r with the second of the order, with the first, and their difference; jackknife over therapists.
numbers <- function(d) { one <- cor(d$factor, d$second); other <- cor(d$factor, d$first); c(one, other, one - other) }
compare <- function(site, first, second) {
  own <- scores[scores$site == site, ]
  a <- own[own$instrument == first, ]; b <- own[own$instrument == second, ]
  both <- merge(a, b, by = c("client", "session"))
  means <- aggregate(cbind(first = score.x, second = score.y) ~ client + therapist.x, both, mean)
  d <- merge(means, clients[clients$site == site, ], by = "client"); d <- d[!is.na(d$factor), ]
  full <- numbers(d); units <- unique(d$therapist.x)
  without <- t(sapply(units, function(unit) numbers(d[d$therapist.x != unit, ])))
  g <- length(units); v <- (g - 1) / g * colSums(sweep(without, 2, colMeans(without))^2)
  margin <- qt(.975, g - 1) * sqrt(v[3]); se <- sqrt(v[3])
  p <- max(pt((full[3] + bound) / se, g - 1, lower.tail = FALSE), pt((full[3] - bound) / se, g - 1))
  list(n = nrow(d), k = g, sessions = sum(both$client %in% d$client), estimate = full, se = sqrt(v), low = full[3] - margin, high = full[3] + margin, p = p)
}
sites <- sort(unique(scores$site)); found <- list(); own_r <- list()
for (site in sites) {
  has <- order[order %in% scores$instrument[scores$site == site]]
  if (length(has) > 1) for (pair in combn(has, 2, simplify = FALSE)) found[[site]][[paste(pair[2], "-", pair[1])]] <- compare(site, pair[1], pair[2])
  # The headline: the first instrument of the site, all its sessions of the window.
  own <- aggregate(score ~ client + therapist, scores[scores$site == site & scores$instrument == has[1], ], mean)
  d <- merge(own, clients[clients$site == site, ], by = "client"); d <- d[!is.na(d$factor), ]
  units <- unique(d$therapist); g <- length(units); z <- sapply(units, function(unit) { e <- d[d$therapist != unit, ]; atanh(cor(e$factor, e$score)) })
  own_r[[site]] <- list(instrument = has[1], z = atanh(cor(d$factor, d$score)), v = (g - 1) / g * sum((z - mean(z))^2))
}
pool <- function(y, v, back = identity, ...) {
  fit <- guarded(y, v, ...)
  list(estimate = back(c(fit$beta)), se = fit$se, low = back(fit$ci.lb), high = back(fit$ci.ub), tau2 = fit$tau2, q = fit$QE, k = fit$k)
}
# The second instrument in order of preference against the first, whichever they are.
another <- lapply(found, function(pairs) pairs[[1]])
pooled <- pool(sapply(another, function(x) x$estimate[3]), sapply(another, function(x) x$se[3]^2))
pooled$p <- max(pt((pooled$estimate + bound) / pooled$se, pooled$k - 1, lower.tail = FALSE), pt((pooled$estimate - bound) / pooled$se, pooled$k - 1))
terms <- lapply(1:2, function(i) pool(sapply(another, function(x) atanh(x$estimate[i])), sapply(another, function(x) (x$se[i] / (1 - x$estimate[i]^2))^2), tanh))
instrument <- sapply(own_r, `[[`, "instrument"); z <- sapply(own_r, `[[`, "z"); v <- sapply(own_r, `[[`, "v")
means <- lapply(split(seq_along(z), instrument), function(i) if (length(i) > 1) pool(z[i], v[i], tanh))
between <- guarded(z, v, mods = ~ relevel(factor(instrument), "haq_2"))
names(between$beta) <- NULL
turned <- guarded(z, v, mods = ~ relevel(factor(instrument), "wai_36"))
tell <- function(fit, i, sign) list(estimate = sign * fit$beta[i], se = fit$se[i], low = min(sign * c(fit$ci.lb[i], fit$ci.ub[i])), high = max(sign * c(fit$ci.lb[i], fit$ci.ub[i])))
out <- list(sites = found, pooled = pooled, other = terms[[1]], preferred = terms[[2]], means = means[!sapply(means, is.null)],
            between = list(`haq_2 - wai_36` = tell(between, 2, -1), `haq_2 - wai_sr` = tell(between, 3, -1), `wai_36 - wai_sr` = tell(turned, 3, -1)),
            test = list(f = between$QM, p = between$QMp, tau2 = between$tau2, q = between$QE))
cat(toJSON(out, auto_unbox = TRUE, digits = NA), "\n")
