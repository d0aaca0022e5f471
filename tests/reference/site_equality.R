# Reference values of tests that paths are equal over sites, by lavaan.
# Usage: Rscript site_equality.R FOLDER   (FOLDER holds cases.json: name to model, and <name>.csv with site and therapist)   writes JSON
# The case "holzinger" takes lavaan's HolzingerSwineford1939 by school and returns its moments.
suppressMessages({library(lavaan); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
cases <- fromJSON(file.path(folder, "cases.json"))
rows_of <- function(table, lhs, rhs) table[table$op == "~" & table$lhs == lhs & table$rhs == rhs, ]
one <- function(name, case) {
  data <- if (name == "holzinger") data.frame(HolzingerSwineford1939, site = HolzingerSwineford1939$school) else read.csv(file.path(folder, paste0(name, ".csv")))
  shared <- if (grepl("=~", case$model)) "loadings" else ""
  make <- function(equal, ...) sem(case$model, data = data, group = "site", group.equal = equal, fixed.x = FALSE, meanstructure = FALSE, ...)
  free <- make(shared)
  equal <- make(c(setdiff(shared, ""), "regressions"))
  difference <- lavTestLRT(equal, free)
  table <- parTable(equal)
  wide <- parTable(free)
  held <- table[table$op == "==", ]
  first <- table[table$op == "~" & table$group == 1, ]
  robust <- if (isTRUE(case$cluster)) sem(case$model, data = data, group = "site", fixed.x = FALSE, cluster = "therapist", estimator = "MLR", group.equal = shared)
  paths <- lapply(seq_len(nrow(first)), function(i) {
    labels <- rows_of(table, first$lhs[i], first$rhs[i])$plabel
    release <- which(held$lhs %in% labels | held$rhs %in% labels)
    score <- suppressWarnings(lavTestScore(equal, release = release))$test
    own <- rows_of(wide, first$lhs[i], first$rhs[i])$plabel
    wald <- lavTestWald(free, paste(own[1], "==", own[-1], collapse = "\n"))
    clustered <- if (!is.null(robust)) {
      mine <- rows_of(parTable(robust), first$lhs[i], first$rhs[i])$plabel
      lavTestWald(robust, paste(mine[1], "==", mine[-1], collapse = "\n"))$stat
    }
    list(lhs = first$lhs[i], rhs = first$rhs[i], equal = first$est[i], score = score$X2, score_df = score$df, wald = wald$stat, wald_df = wald$df, clustered = clustered)
  })
  estimates <- parameterEstimates(free)
  estimates <- estimates[estimates$op == "~", c("lhs", "rhs", "group", "est", "se")]
  list(chi2 = difference[2, "Chisq diff"], df = difference[2, "Df diff"], p_value = difference[2, "Pr(>Chisq)"], paths = paths, estimates = estimates,
       groups = as.character(lavInspect(free, "group.label")),
       moments = if (name == "holzinger") lapply(unique(data$site), function(site) {
         x <- data[data$site == site, lavNames(free)]; list(n = nrow(x), names = colnames(x), covariance = cov(x)) }))
}
cat(toJSON(Map(one, names(cases), lapply(seq_len(length(cases)), function(i) cases[[i]])), digits = NA, auto_unbox = TRUE, na = "null", null = "null"))
