# Path models over sites by metafor and lavaan, from what sites would send.
# Usage: Rscript path_pooled.R FOLDER   (FOLDER holds input.json)   writes JSON
# input.json: models: name to syntax; moments: model to site to names, n (of pairs), therapists, covariance, acov (of its elements, upper triangle row by row)
suppressMessages({library(lavaan); library(jsonlite)})
input <- fromJSON(file.path(commandArgs(TRUE)[1], "input.json"), simplifyMatrix = TRUE)
# lavaan cuts numbers of clients to integers; those of moments with holes are means. They are multiplied, which leaves scaled statistics and errors
# as they are and multiplies the others.
many <- 1e4
fitted <- function(model, S, V, n, ...) {
  of <- function(f) if (is.list(S)) Map(f, S, V, n) else f(S, V, n)
  sem(model, sample.cov = of(function(S, V, n) S * (n - 1) / n), NACOV = of(function(S, V, n) round(many * n) * ((n - 1) / n)^2 * V), sample.nobs = of(function(S, V, n) round(many * n)),
      sample.cov.rescale = FALSE, estimator = "ML", se = "robust.sem", test = "satorra.bentler", fixed.x = FALSE, meanstructure = FALSE, ...)
}
measures <- function(fit, N) {
  f <- as.list(fitMeasures(fit, c("chisq", "df", "chisq.scaled", "pvalue.scaled", "chisq.scaling.factor", "srmr", "baseline.chisq", "baseline.df")))
  x <- f$chisq <- f$chisq / many; b <- f$baseline.chisq / many; f$chisq.scaling.factor <- f$chisq.scaling.factor / many; d <- f$df
  if (d == 0) return(f)
  ends <- sapply(c(.95, .05), function(p) if (pchisq(x, d) < p) 0 else uniroot(function(ncp) pchisq(x, d, ncp) - p, c(0, 10 * x), tol = 1e-12)$root)
  c(f, list(pvalue = 1 - pchisq(x, d), cfi = 1 - max(x - d, 0) / max(x - d, b - f$baseline.df, 0), tli = (b / f$baseline.df - x / d) / (b / f$baseline.df - 1), rmsea = sqrt(max(x - d, 0) / (N * d)),
            rmsea.ci.lower = sqrt(ends[1] / (N * d)), rmsea.ci.upper = sqrt(ends[2] / (N * d)), rmsea.pvalue = 1 - pchisq(x, d, N * d * .05^2)))
}
correlations <- function(S, acov) {
  p <- nrow(S); at <- which(lower.tri(S, TRUE), arr.ind = TRUE)[, 2:1]; s <- sqrt(diag(S)); R <- S / (s %o% s)
  J <- matrix(0, nrow(at), nrow(at))
  where <- function(i, j) which(at[, 1] == min(i, j) & at[, 2] == max(i, j))
  for (k in seq_len(nrow(at))) {
    i <- at[k, 1]; j <- at[k, 2]; if (i == j) next
    J[k, where(i, j)] <- 1 / (s[i] * s[j]); J[k, where(i, i)] <- -R[i, j] / (2 * S[i, i]); J[k, where(j, j)] <- -R[i, j] / (2 * S[j, j])
  }
  list(r = R, v = J %*% acov %*% t(J), at = at)
}
mean_n <- function(n) 1 / mean(1 / n[upper.tri(n)])
key <- function(t) ifelse(t$op == ":=", t$lhs, paste(t$lhs, t$op, t$rhs))
in_order <- function(found, names, order) {
  k <- match(order, names); S <- found$r[k, k]; dimnames(S) <- list(order, order)
  at <- which(lower.tri(S, TRUE), arr.ind = TRUE)[, 2:1]; old <- function(i, j) which(found$at[, 1] == min(k[i], k[j]) & found$at[, 2] == max(k[i], k[j]))
  take <- apply(at, 1, function(x) old(x[1], x[2]))
  list(S = S, V = found$v[take, take])
}
one <- function(name) {
  model <- sub("empathy ~~ intake_level\n", "", input$models[[name]], fixed = TRUE); sites <- input$moments[[name]]
  order <- lavNames(lavaanify(model, auto = TRUE, fixed.x = FALSE), "ov"); names <- sites[[1]]$names
  therapists <- sapply(sites, function(s) s$therapists); n <- sapply(sites, function(s) mean_n(s$n)); each <- lapply(sites, function(s) in_order(correlations(s$covariance, s$acov), names, order))
  share <- (n - 1) / sum(n - 1)
  S <- Reduce(`+`, Map(function(w, e) w * e$S, share, each)); V <- Reduce(`+`, Map(function(w, e) w^2 * e$V, share, each)); N <- sum(n - 1) + 1
  fit <- fitted(model, S, V, N)
  s <- standardizedSolution(fit); s <- s[s$op != "==", ]
  out <- list(n = N, estimate = as.list(setNames(s$est.std, key(s))), std_error = as.list(setNames(s$se, key(s))), fit = measures(fit, N))
  if (!any(s$op == "~") || grepl("==", model)) return(out)
  groups <- function(equal) fitted(model, lapply(each, `[[`, "S"), lapply(each, `[[`, "V"), as.list(n), group.equal = equal)
  # A label without group holds the path equal over groups: labels go.
  model <- gsub("[a-z]\\*", "", sub("indirect.*", "", model)); free <- groups(""); held <- groups("regressions")
  difference <- suppressWarnings(lavTestLRT(held, free, method = "satorra.bentler.2001"))
  table <- parTable(free); V <- unclass(vcov(free)); paths <- unique(table[table$op == "~", c("lhs", "rhs")])
  out$equality <- list(chi2 = difference[2, "Chisq diff"], df = difference[2, "Df diff"], p_value = difference[2, "Pr(>Chisq)"], paths = lapply(seq_len(nrow(paths)), function(i) {
    own <- table[table$op == "~" & table$lhs == paths$lhs[i] & table$rhs == paths$rhs[i], ]; test <- lavTestWald(free, paste(own$plabel[1], "==", own$plabel[-1], collapse = "\n"))
    v <- V[own$free, own$free]; G <- nrow(v)
    contrast <- t(sapply(seq_len(G), function(g) { w <- solve(v[-g, -g], rep(1, G - 1)); a <- numeric(G); a[g] <- 1; a[-g] <- -w / sum(w); a }))
    brought <- contrast^2 * rep(diag(v), each = G); df <- rowSums(brought)^2 / rowSums(brought^2 / rep(therapists - 1, each = G))
    list(name = paste(paths$lhs[i], "~", paths$rhs[i]), site_df = df, chi2 = test$stat, df = test$df, p_value = test$p.value, difference = as.vector(contrast %*% own$est), std_error = sqrt(diag(contrast %*% v %*% t(contrast))))
  }))
  p <- unlist(lapply(out$equality$paths, `[[`, "p_value")); out$equality$holm <- I(p.adjust(p, "holm"))
  p <- unlist(lapply(out$equality$paths, function(x) 2 * pt(-abs(x$difference / x$std_error), x$site_df))); out$equality$site_p <- p; out$equality$site_holm <- p.adjust(p, "holm")
  out
}
cat(toJSON(setNames(lapply(names(input$models), one), names(input$models)), auto_unbox = TRUE, digits = NA, na = "null", null = "null"))
