# Path models of the lq2002 data, whose members are nested in companies, by lavaan with cluster-robust errors.
# Usage: Rscript path_clusters.R <lq2002.csv>; prints JSON.
suppressMessages({library(lavaan); library(jsonlite)})
rows <- read.csv(commandArgs(TRUE)[1])
models <- c(full = "TSIG ~ a*LEAD\nHOSTILE ~ b*TSIG + c*LEAD\nindirect := a*b", chain = "TSIG ~ a*LEAD\nHOSTILE ~ b*TSIG\nindirect := a*b")
fits <- lapply(models, sem, data = rows, cluster = "COMPID", estimator = "MLR", fixed.x = FALSE)
difference <- lavTestLRT(fits$full, fits$chain, method = "satorra.bentler.2001")
cat(toJSON(list(models = as.list(models), fits = lapply(fits, function(fit) {
  table <- parameterEstimates(fit); standard <- standardizedSolution(fit)
  list(lhs = table$lhs, op = table$op, rhs = table$rhs, est = table$est, se = table$se, std = standard$est.std, std_se = standard$se,
       fit = as.list(fitMeasures(fit, c("chisq", "df", "chisq.scaled", "pvalue.scaled", "aic", "bic"))))
}), difference = list(chi2 = difference[2, "Chisq diff"], p_value = difference[2, "Pr(>Chisq)"])), auto_unbox = TRUE, digits = NA, na = "null"))
