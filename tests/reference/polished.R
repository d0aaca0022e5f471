# Models that lavaan fits, moved to where its own gradient is zero: its optimiser stops before the fifth digit in some models.
# Sourced by scripts that have loaded lavaan: settings are arguments of sem() (cfa() has the same defaults); returns the fit at the optimum.
polished <- function(settings) {
  quick <- c(settings, list(se = "none", test = "none", baseline = FALSE))
  fit <- suppressWarnings(do.call("sem", quick))
  quick$optim.method <- "none"
  for (step in 1:25) {
    information <- lavTech(fit, "information")
    held <- if (nrow(fit@Model@con.jac)) fit@Model@con.jac else matrix(0, 0, nrow(information))
    zero <- matrix(0, nrow(held), nrow(held))
    slope <- lavTech(fit, "gradient.logl")
    move <- solve(rbind(cbind(information, t(held)), cbind(held, zero)), c(slope, numeric(nrow(held))))[seq_along(slope)]
    table <- parTable(fit)
    free <- table$free > 0
    table$est[free] <- table$est[free] + move[table$free[free]]
    quick$start <- table
    if (max(abs(move)) < 1e-9) break
    fit <- suppressWarnings(do.call("sem", quick))
  }
  suppressWarnings(do.call("sem", c(settings, list(start = table, optim.method = "none"))))
}
