# Reference values of the factor models of the measurement question by lavaan.
# Usage: Rscript factor_models.R FOLDER   (FOLDER holds models.json and CSV files)   writes JSON to standard output
suppressMessages({library(lavaan); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
cases <- fromJSON(file.path(folder, "models.json"), simplifyDataFrame = FALSE)
wanted <- c("chisq", "df", "pvalue", "cfi", "tli", "rmsea", "rmsea.ci.lower", "rmsea.ci.upper", "srmr", "aic", "bic", "chisq.scaled",
            "pvalue.scaled", "cfi.robust", "tli.robust", "rmsea.robust", "rmsea.ci.lower.robust", "rmsea.ci.upper.robust")
# lavaan's estimates are moved to where lavaan's own gradient is zero.
polished <- function(settings) {
  quick <- c(settings, list(se = "none", test = "none", baseline = FALSE))
  fit <- suppressWarnings(do.call("cfa", quick))
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
    fit <- suppressWarnings(do.call("cfa", quick))
  }
  suppressWarnings(do.call("cfa", c(settings, list(start = table, optim.method = "none"))))
}
fitted <- function(case) {
  settings <- list(model = case$model, data = read.csv(file.path(folder, paste0(case$data, ".csv"))), std.lv = TRUE,
                   orthogonal = isTRUE(case$orthogonal))
  if (isTRUE(case$ordinal)) {
    settings$ordered <- TRUE
    settings$estimator <- "ULS"
    return(suppressWarnings(do.call("cfa", settings)))
  }
  if (isTRUE(case$cluster)) settings <- c(settings, list(cluster = "therapist", estimator = "MLR"))
  polished(settings)
}
fits <- lapply(cases, fitted)
one <- function(fit) {
  raw <- suppressWarnings(parameterEstimates(fit))
  standard <- suppressWarnings(standardizedSolution(fit))
  list(standardized = standard[standard$op %in% c("=~", "~~"), c("lhs", "op", "rhs", "est.std", "se", "ci.lower", "ci.upper")],
       defined = raw[raw$op == ":=", c("lhs", "est", "se")], fit = as.list(unclass(suppressWarnings(fitMeasures(fit, wanted)))))
}
values <- lapply(fits, one)
for (name in names(cases)) {
  against <- cases[[name]]$against
  if (is.null(against)) next
  test <- suppressWarnings(lavTestLRT(fits[[against]], fits[[name]], method = "satorra.bentler.2001"))
  values[[name]]$difference <- list(chi2 = test[["Chisq diff"]][2], df = test[["Df diff"]][2], p_value = test[["Pr(>Chisq)"]][2])
}
cat(toJSON(values, digits = NA, auto_unbox = TRUE, na = "null", null = "null"))
