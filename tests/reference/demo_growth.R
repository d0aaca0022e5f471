# lavaan's own example of linear growth: its data and what it gives for them.
suppressMessages(library(lavaan))
data(Demo.growth)
fit <- growth("i =~ 1*t1 + 1*t2 + 1*t3 + 1*t4\ns =~ 0*t1 + 1*t2 + 2*t3 + 3*t4", Demo.growth)
means <- parameterEstimates(fit); means <- means[means$op == "~1" & means$lhs %in% c("i", "s"), ]
cat(jsonlite::toJSON(list(rows = as.matrix(Demo.growth[, c("t1", "t2", "t3", "t4")]), chi2 = as.numeric(fitMeasures(fit, "chisq")),
  df = as.numeric(fitMeasures(fit, "df")), level = means$est[1], slope = means$est[2], slope_error = means$se[2]), auto_unbox = TRUE, digits = NA))
