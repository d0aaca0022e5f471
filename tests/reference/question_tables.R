# Tables of two questions from the rows of clients: shared variance of pairs of measures, and categories of client factors.
# Usage: Rscript question_tables.R <folder with scores.csv, clients.csv, factors.json>; prints JSON.
suppressMessages({library(metafor); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
scores <- read.csv(file.path(folder, "scores.csv"), colClasses = c(derived_from = "character"))
clients <- read.csv(file.path(folder, "clients.csv"))
factors <- fromJSON(file.path(folder, "factors.json"))
sites <- sort(unique(clients$site))
least_therapists <- 5

# z, its variance and, to let it covary with others, the share of every therapist (or client) in its error.
related <- function(x, y, therapist) {
  used <- !is.na(x) & !is.na(y)
  x <- x[used]; y <- y[used]; therapist <- therapist[used]; n <- length(x); z <- atanh(cor(x, y))
  groups <- unique(therapist)
  if (length(groups) >= least_therapists) {
    without <- sapply(groups, function(g) atanh(cor(x[therapist != g], y[therapist != g])))
    share <- setNames((without - mean(without)) * sqrt((length(groups) - 1) / length(groups)), groups)
    return(list(z = z, v = sum(share^2), n = n, share = share, by = "therapist"))
  }
  # Influence of each client on r (Hampel, 1974, applied to the product-moment correlation), scaled to the variance 1 / (n - 3).
  standard <- function(a) (a - mean(a)) / sqrt(mean((a - mean(a))^2))
  influence <- standard(x) * standard(y) - cor(x, y) * (standard(x)^2 + standard(y)^2) / 2
  share <- setNames(influence / sqrt(sum(influence^2)) / sqrt(n - 3), which(used))
  list(z = z, v = 1 / (n - 3), n = n, share = share, by = "client")
}
covary <- function(a, b) { both <- intersect(names(a$share), names(b$share)); sum(a$share[both] * b$share[both]) }
pooled <- function(y, v) rma.uni(y, v, method = "REML", test = "adhoc", control = list(threshold = 1e-14, maxiter = 10000))
numbers <- function(fit) list(z = as.numeric(fit$beta), std_error = fit$se, low = tanh(fit$ci.lb), high = tanh(fit$ci.ub),
                              tau2 = fit$tau2, q = fit$QE, k = fit$k, estimate = tanh(as.numeric(fit$beta)))
therapists <- function(one) ifelse(is.na(one$therapist), paste("alone", one$client), paste("t", one$therapist))

# Shared variance; scores from the answers to a long form are no measures of their own.
scores$variable <- paste(scores$instrument, scores$scale, scores$rater, sep = ".")
pairs <- list()
for (site in sites) {
  here <- scores[scores$site == site, ]; own <- clients[clients$site == site, ]
  names <- sort(unique(here$variable)); about <- here[match(names, here$variable), ]
  for (i in seq_along(names)) for (j in seq_along(names)) {
    a <- about[i, ]; b <- about[j, ]
    level <- if (a$scale == "total") "total" else "subscale"
    if (i >= j || a$instrument == b$instrument || a$rater != b$rater || (a$scale == "total") != (b$scale == "total")) next
    if (a$derived_from != "" || b$derived_from != "") next
    wide <- merge(here[here$variable == names[i], c("client", "session", "score")],
                  here[here$variable == names[j], c("client", "session", "score")], by = c("client", "session"))
    means <- aggregate(wide[c("score.x", "score.y")], wide["client"], mean)
    found <- related(means$score.x, means$score.y, therapists(own)[match(means$client, own$client)])
    pairs[[length(pairs) + 1]] <- data.frame(site = site, pair = paste(names[i], names[j], sep = " ~~ "), level = level, rater = a$rater,
                                             z = found$z, v = found$v)
  }
}
pairs <- do.call(rbind, pairs)
together <- do.call(rbind, lapply(split(pairs, pairs$pair), function(one) if (nrow(one) > 1)
  data.frame(site = "(pooled)", one[1, c("pair", "level", "rater")], z = as.numeric(pooled(one$z, one$v)$beta), v = NA)))
overlap <- list()
for (site in c(sites, "(pooled)")) for (level in c("total", "subscale")) for (rater in c("all", "client", "therapist")) {
  all <- rbind(pairs, together)
  one <- all[all$site == site & all$level == level & (rater == "all" | all$rater == rater), ]
  shared <- tanh(one$z)^2
  if (nrow(one)) overlap[[paste(site, level, rater, sep = "/")]] <-
    list(n_pairs = nrow(one), r_squared_minimum = min(shared), r_squared_mean = mean(shared), r_squared_maximum = max(shared))
}

# Categories of client factors.
first <- scores[scores$variable == "wai_36.total.client" & !is.na(scores$score), ]
alliance <- aggregate(first["score"], first[c("site", "client")], mean)
categories <- sort(unique(sapply(factors, function(f) f$category)))
single <- data.frame(); at_site <- list(); shared <- list()
for (site in sites) {
  own <- clients[clients$site == site, ]
  y <- with(alliance[alliance$site == site, ], score[match(own$client, client)])
  found <- list()
  for (name in names(factors)) {
    x <- own[[name]] * (if (factors[[name]]$reversed) -1 else 1)
    if (all(is.na(x))) next
    found[[name]] <- related(x, y, therapists(own))
    single <- rbind(single, data.frame(site = site, category = factors[[name]]$category, r = tanh(found[[name]]$z), n = found[[name]]$n))
  }
  of <- sapply(names(found), function(name) factors[[name]]$category)
  sigma <- outer(seq_along(found), seq_along(found), Vectorize(function(i, j) covary(found[[i]], found[[j]])))
  z <- sapply(found, function(one) one$z)
  weight <- t(sapply(categories, function(category) if (any(of == category)) (of == category) / sum(of == category) else 0 * z))
  joint <- weight %*% sigma %*% t(weight)
  shared[[site]] <- joint
  for (category in categories) if (any(of == category))
    at_site[[length(at_site) + 1]] <- data.frame(site = site, category = category, z = c(weight[category, ] %*% z), v = joint[category, category])
}
at_site <- do.call(rbind, at_site)
means <- list(); fits <- list(); weighted <- list()
for (category in categories) {
  one <- at_site[at_site$category == category, ]
  fits[[category]] <- pooled(one$z, one$v)
  means[[category]] <- c(numbers(fits[[category]]),
    list(sites = lapply(split(one, one$site), function(row) list(estimate = tanh(row$z), std_error = sqrt(row$v)))))
  weighted[[category]] <- with(single[single$category == category, ], weighted.mean(r, n))
}
contrasts <- list()
for (i in seq_along(categories)) for (j in seq_along(categories)) if (i < j) {
  pair <- categories[c(i, j)]
  weight <- lapply(pair, function(category) setNames(weights(fits[[category]]) / 100, at_site$site[at_site$category == category]))
  both <- intersect(names(weight[[1]]), names(weight[[2]]))
  covariance <- sum(sapply(both, function(site) weight[[1]][[site]] * weight[[2]][[site]] * shared[[site]][pair[1], pair[2]]))
  r <- sapply(fits[pair], function(fit) tanh(as.numeric(fit$beta)))
  error <- sapply(fits[pair], function(fit) fit$se) * (1 - r^2)
  df <- sum(error^2)^2 / sum(error^4 / sapply(fits[pair], function(fit) fit$k - 1))
  std_error <- sqrt(sum(error^2) - 2 * covariance * prod(1 - r^2))
  estimate <- r[[1]] - r[[2]]
  contrasts[[paste(pair, collapse = " - ")]] <- list(estimate = estimate, std_error = std_error,
    ci_low = estimate - qt(0.975, df) * std_error, ci_high = estimate + qt(0.975, df) * std_error, p_value = 2 * pt(-abs(estimate / std_error), df))
}
cat(toJSON(list(overlap = overlap, means = means, weighted = weighted, contrasts = contrasts), auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
