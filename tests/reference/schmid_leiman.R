# Minres by nlminb and oblimin by GPArotation, both to the last digits, which psych leaves to defaults; Schmid-Leiman from them.
library(GPArotation)
minres <- function(r, f) {
  part <- function(psi) {
    e <- eigen(r - diag(psi), symmetric = TRUE)
    sum(e$values[-seq_len(f)]^2)
  }
  slope <- function(psi) {
    e <- eigen(r - diag(psi), symmetric = TRUE)
    -2 * drop(e$vectors[, -seq_len(f), drop = FALSE]^2 %*% e$values[-seq_len(f)])
  }
  psi <- nlminb(1 / diag(solve(r)), part, slope, lower = .005, upper = 1, control = list(rel.tol = 1e-15, x.tol = 1e-12, iter.max = 2000))$par
  e <- eigen(r - diag(psi), symmetric = TRUE)
  list(load = e$vectors[, seq_len(f), drop = FALSE] %*% diag(sqrt(e$values[seq_len(f)]), f), psi = psi)
}
schmid_leiman_exact <- function(r, f) {
  m <- minres(r, f)
  turn <- oblimin(varimax(m$load, eps = 1e-14)$loadings[, seq_len(f)], eps = 1e-7, maxit = 5000)
  phi <- turn$Phi
  second <- minres(phi, 1)
  g <- second$load[, 1]
  general <- drop(turn$loadings %*% g)
  general <- general * sign(sum(general))
  list(omega_h = sum(general)^2 / sum(r), omega_t = 1 - sum(m$psi) / sum(r), general = general, uniquenesses = m$psi, group = second$psi)
}
