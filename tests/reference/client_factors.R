# Client factors and the alliance: slopes by therapist, growth, phases, and what factors and alliance explain, from rows of clients.
# Every standard error leaves out one therapist at a time by fitting everything again (one client at a time with few therapists).
# Usage: Rscript client_factors.R <folder with clients.csv, sessions.csv, factors.json>; prints JSON.
suppressMessages({library(lme4); library(metafor); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
clients <- read.csv(file.path(folder, "clients.csv")); sessions <- read.csv(file.path(folder, "sessions.csv"))
factors <- fromJSON(file.path(folder, "factors.json"))
sites <- sort(unique(clients$site)); least <- 5
for (name in names(factors)) if (factors[[name]]$reversed) clients[[name]] <- -clients[[name]]

# Estimates with the errors of leaving out each group in turn.
jackknifed <- function(rows, group, estimate) {
  groups <- unique(group)
  if (length(groups) < least) { group <- seq_len(nrow(rows)); groups <- group }
  all <- estimate(rows); g <- length(groups)
  without <- sapply(groups, function(one) estimate(rows[group != one, , drop = FALSE]))
  if (is.null(dim(without))) without <- matrix(without, nrow = 1)
  list(estimate = unname(all), std_error = unname(sqrt((g - 1) / g * rowSums((without - rowMeans(without))^2))), n = nrow(rows))
}
window_mean <- function(rows, from, to) with(rows[rows$session >= from & rows$session <= to, ], tapply(alliance, client, mean))
left <- function(y, given) residuals(lm(y ~ given))

found <- list(); basis <- list()
for (site in sites) {
  own <- clients[clients$site == site, ]; rated <- sessions[sessions$site == site, ]
  own$alliance <- window_mean(rated, 1, 5)[as.character(own$client)]
  own$later <- window_mean(rated, 6, 99)[as.character(own$client)]
  result <- list()
  # Growth: variances from lmer without any factor, then generalised least squares with the whole covariance matrix of each therapist.
  rated$therapist <- own$therapist[match(rated$client, own$client)]
  rated$score <- (rated$alliance - mean(rated$alliance)) / sd(rated$alliance); rated$time <- (rated$session - 1) / 10
  tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))
  null <- lmer(score ~ time + (1 + time | client) + (1 | therapist), rated, control = tight)
  parts <- VarCorr(null); psi <- parts$client[1:2, 1:2]; tau <- parts$therapist[1, 1]; sigma2 <- sigma(null)^2
  for (name in names(factors)) {
    x <- own[[name]]; mine <- list()
    used <- own[!is.na(x) & !is.na(own$alliance), ]
    used$x <- used[[name]]
    mine$r <- jackknifed(used, used$therapist, function(d) cor(d$x, d$alliance))$estimate
    split <- function(d) {
      d$mean <- ave(d$x, d$therapist); d$within <- d$x - d$mean
      scale <- sd(d$x) / sd(d$alliance)
      both <- coef(lm(alliance ~ within + mean, d))[c("within", "mean")] * scale
      c(both, both[2] - both[1])
    }
    if (length(unique(used$therapist)) >= 10) {
      mine$slopes <- jackknifed(used, used$therapist, split)
      d <- used; d$mean <- ave(d$x, d$therapist); d$within <- d$x - d$mean
      model <- lmer(alliance ~ within + mean + (1 | therapist), d, control = tight)
      mine$within_of_lmer <- unname(fixef(model)["within"] * sd(d$x) / sd(d$alliance))
    }
    g <- merge(rated, data.frame(client = own$client, x = x)); g <- g[!is.na(g$x), ]
    known <- unique(g[c("client", "x")])
    g$x <- (g$x - mean(known$x)) / sd(known$x)
    few <- length(unique(g$therapist)) < least
    unit <- if (few) g$client else g$therapist
    gls <- function(d) {
      unit <- if (few) d$client else d$therapist
      left <- matrix(0, 4, 4); right <- numeric(4)
      for (one in unique(unit)) {
        e <- d[unit == one, ]; z <- cbind(1, e$time); same <- outer(e$client, e$client, "==")
        v <- z %*% psi %*% t(z) * same + diag(sigma2, nrow(e)) + (if (few) 0 else tau)
        design <- cbind(1, e$time, e$x, e$x * e$time)
        left <- left + t(design) %*% solve(v, design); right <- right + c(t(design) %*% solve(v, e$score))
      }
      solve(left, right)[3:4]
    }
    groups <- unique(unit); G <- length(groups)
    without <- sapply(groups, function(one) gls(g[unit != one, ]))
    mine$growth <- list(estimate = gls(g), std_error = sqrt((G - 1) / G * rowSums((without - rowMeans(without))^2)))
    full <- lmer(score ~ time * x + (1 + time | client) + (1 | therapist), g, control = tight)
    mine$growth_of_lmer <- list(estimate = unname(fixef(full)[c("x", "time:x")]), std_error = unname(sqrt(diag(as.matrix(vcov(full))))[3:4]))
    both <- used[!is.na(used$later), ]
    mine$phases <- jackknifed(both, both$therapist, function(d) {
      r <- c(cor(d$x, d$alliance), cor(d$x, d$later))
      c(r, r[1] - r[2], cor(left(d$x, d$alliance), left(d$later, d$alliance)))
    })
    result[[name]] <- mine
  }
  # What social relations and the alliance explain of the outcome, as it is and given the intake level.
  d <- own[complete.cases(own[c("social_relations", "alliance", "post", "intake")]), ]
  d$x <- d$social_relations
  explained <- function(formula, d) summary(lm(formula, d))$r.squared
  shares <- function(d, y, x, a) {
    total <- summary(lm(y ~ x + a))$r.squared; of_x <- summary(lm(y ~ x))$r.squared; of_a <- summary(lm(y ~ a))$r.squared
    c(cor(x, a), cor(x, y), cor(a, y), cor(left(x, a), left(y, a)), cor(left(a, x), left(y, x)), cor(a, y) - cor(x, y),
      total - of_a, total - of_x, of_x + of_a - total, total)
  }
  result$pair <- list(
    zero_order = jackknifed(d, d$therapist, function(d) shares(d, d$post, d$x, d$alliance)),
    ancova = jackknifed(d, d$therapist, function(d) shares(d, left(d$post, d$intake), left(d$x, d$intake), left(d$alliance, d$intake))))
  basis[[site]] <- result$pair$ancova$estimate[1:3]
  # All factors together.
  all <- own[complete.cases(own[c(names(factors), "alliance")]), ]
  everything <- reformulate(names(factors), "alliance")
  together <- jackknifed(all, all$therapist, function(d) { s <- summary(lm(everything, d)); c(s$r.squared, s$adj.r.squared) })
  errors <- 0; spread <- 0
  for (one in unique(all$therapist)) {
    seen <- all[all$therapist != one, ]; new <- all[all$therapist == one, ]
    errors <- errors + sum((new$alliance - predict(lm(everything, seen), new))^2)
    spread <- spread + sum((new$alliance - mean(seen$alliance))^2)
  }
  d <- own[complete.cases(own[c(names(factors), "alliance", "post", "intake")]), ]
  given <- function(d) {
    held <- as.matrix(d[c(names(factors), "intake")])
    before <- cor(left(d$alliance, d$intake), left(d$post, d$intake)); after <- cor(left(d$alliance, held), left(d$post, held))
    c(before, after, after - before)
  }
  result$together <- list(explained = together, elsewhere = 1 - errors / spread, given = jackknifed(d, d$therapist, given))
  found[[site]] <- result
}
# Pooled over sites.
pooled <- function(y, se) {
  fit <- rma.uni(y, se^2, method = "REML", test = "adhoc", control = list(threshold = 1e-14, maxiter = 10000))
  list(estimate = as.numeric(fit$beta), std_error = fit$se, low = fit$ci.lb, high = fit$ci.ub, tau2 = fit$tau2)
}
take <- function(path, i) t(sapply(found, function(one) { for (name in path) one <- one[[name]]; c(one$estimate[i], one$std_error[i]) }))
together <- list()
for (i in 1:2) { m <- take(c("motivation", "growth"), i); together[[c("growth_start", "growth_change")[i]]] <- pooled(m[, 1], m[, 2]) }
m <- take(c("motivation", "phases"), 3); together$phases_contrast <- pooled(m[, 1], m[, 2])
m <- take(c("together", "explained"), 2); together$adjusted <- pooled(m[, 1], m[, 2])
m <- take(c("motivation", "phases"), 2); z <- pooled(atanh(m[, 1]), m[, 2] / (1 - m[, 1]^2))
bound <- atanh(0.1); df <- length(sites) - 1
together$phases_second <- c(z, p_equivalence = max(pt((z$estimate + bound) / z$std_error, df, lower.tail = FALSE), pt((z$estimate - bound) / z$std_error, df)))
cat(toJSON(list(sites = found, pooled = together), auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
