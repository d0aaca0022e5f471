# Path models for several groups over sites by lavaan, from the covariances by group that sites would send.
# Usage: Rscript path_groups_pooled.R FOLDER   (FOLDER holds input.json)   writes JSON to standard output
# input.json: models: name to model, group_equal; sent: model to site to names, n (by group), covariances (group by variable by variable), acov (of
# their elements, group by group, upper triangles row by row)
# Groups of a site share therapists, so their covariances covary: errors and scaling factor are sandwiches written out here.
suppressMessages({library(lavaan); library(jsonlite)})
input <- fromJSON(file.path(commandArgs(TRUE)[1], "input.json"), simplifyMatrix = TRUE, simplifyDataFrame = FALSE)
many <- 1e4
full <- function(v, p) { M <- matrix(v[1], p, p); M[lower.tri(M, TRUE)] <- v; M[upper.tri(M)] <- t(M)[upper.tri(M)]; M }
half <- function(M) M[lower.tri(M, TRUE)]
# Divided by the standard deviation within groups, the same in all of them.
units <- function(v, n, p) {
  G <- length(n); parts <- matrix(v, ncol = G)
  S <- lapply(seq_len(G), function(g) full(parts[, g], p))
  s <- sqrt(Reduce(`+`, Map(function(S, n) (n - 1) * diag(S), S, n)) / sum(n - 1))
  unlist(lapply(S, function(S) half(S / (s %o% s))))
}
site_of <- function(site, order) {
  k <- match(order, site$names); p <- length(k); G <- length(site$n); size <- p * (p + 1) / 2
  at <- which(lower.tri(matrix(0, p, p), TRUE), arr.ind = TRUE)[, 2:1]; old <- matrix(0, p, p); old[lower.tri(old, TRUE)] <- seq_len(size)
  take <- apply(at, 1, function(x) old[max(k[x]), min(k[x])])
  take <- unlist(lapply(seq_len(G) - 1, function(g) g * size + take))
  v <- unlist(lapply(seq_len(G), function(g) half(site$covariances[g, k, k])))
  J <- lavaan:::lav_func_jacobian_complex(function(v) units(v, site$n, p), v)
  list(v = units(v, site$n, p), V = J %*% site$acov[take, take] %*% t(J), n = site$n)
}
one <- function(name) {
  case <- input$models[[name]]; G <- length(input$groups)
  order <- lavNames(lavaanify(case$model, ngroups = G, auto = TRUE, fixed.x = FALSE), "ov"); p <- length(order); size <- p * (p + 1) / 2
  each <- lapply(input$sent[[name]], site_of, order)
  weight <- sapply(each, function(e) e$n - 1); total <- rowSums(weight); n <- total + 1
  v <- numeric(G * size); V <- matrix(0, G * size, G * size)
  for (k in seq_along(each)) { w <- rep(weight[, k] / total, each = size); v <- v + w * each[[k]]$v; V <- V + (w %o% w) * each[[k]]$V }
  shrink <- rep((n - 1) / n, each = size); v <- v * shrink; V <- V * (shrink %o% shrink)
  S <- lapply(seq_len(G), function(g) { M <- full(v[(g - 1) * size + seq_len(size)], p); dimnames(M) <- list(order, order); M })
  equal <- unlist(case$group_equal)
  fit <- sem(case$model, sample.cov = S, sample.nobs = as.list(round(many * n)), sample.cov.rescale = FALSE, fixed.x = FALSE, meanstructure = FALSE,
             group.equal = if (is.null(equal)) "" else equal)
  sigma <- lapply(fitted(fit), function(f) f$cov[order, order]); N <- sum(n); share <- n / N; D <- lav_matrix_duplication(p)
  W <- lapply(sigma, function(M) 0.5 * t(D) %*% (solve(M) %x% solve(M)) %*% D)
  F <- do.call(lav_matrix_bdiag, Map(`*`, share, W)); Delta <- do.call(rbind, lapply(lavInspect(fit, "delta"), unclass))
  K <- if (fit@Model@eq.constraints) fit@Model@eq.constraints.K else diag(ncol(Delta))
  Delta <- Delta %*% K; bread <- solve(t(Delta) %*% F %*% Delta); middle <- t(Delta) %*% F %*% V %*% F %*% Delta
  fit@vcov$vcov <- K %*% bread %*% middle %*% bread %*% t(K)
  s <- suppressWarnings(standardizedSolution(fit)); s <- s[s$op != "==", ]
  df <- fitMeasures(fit, "df")[[1]]; chi2 <- fitMeasures(fit, "chisq")[[1]] / many
  list(n = n, fit = list(df = df, chisq = chi2, scaling = if (df > 0) N * (sum(F * V) - sum(diag(bread %*% middle))) / df),
       parameters = data.frame(lhs = s$lhs, op = s$op, rhs = s$rhs, group = s$group, standardized = s$est.std, std_error_standardized = s$se,
                               estimate = NA, std_error = NA))
}
cat(toJSON(lapply(setNames(nm = names(input$models)), one), digits = NA, auto_unbox = TRUE, na = "null", null = "null"))
