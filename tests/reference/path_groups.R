# Path models for several groups by lavaan, with therapists who have clients in several groups.
# Usage: Rscript path_groups.R FOLDER   (FOLDER holds groups.json and rows.csv)   writes JSON to standard output
# Errors and scaling factors are sandwiches of the observed information with scores summed by therapist over all groups. Jackknives leave
# each therapist out of all groups; where no therapist has clients in two groups, every group's therapists are a stratum of their own.
suppressMessages({library(lavaan); library(jsonlite)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
source(file.path(here, "polished.R"))
folder <- commandArgs(TRUE)[1]
given <- fromJSON(file.path(folder, "groups.json"), simplifyDataFrame = FALSE)
rows <- read.csv(file.path(folder, "rows.csv"))

settings_of <- function(case, data) {
  settings <- list(model = case$model, data = data, group = "treatment", group.label = given$groups, fixed.x = FALSE,
                   meanstructure = TRUE, estimator = "MLR", group.equal = unlist(case$group_equal), group.partial = unlist(case$group_partial))
  settings <- settings[!vapply(settings, is.null, TRUE)]
  if (anyNA(data)) settings <- c(settings, list(missing = "ml", em.h1.tol = 1e-12, em.h1.iter.max = 20000))
  settings
}
used <- function(case, data) {
  data <- data[c("site", "therapist", "treatment", unlist(case$variables))]
  data[rowSums(!is.na(data[unlist(case$variables)])) > 0, ]
}
strata_of <- function(data) {
  crossed <- any(tapply(data$treatment, data$therapist, function(own) length(unique(own))) > 1)
  if (crossed) rep("all", nrow(data)) else data$treatment
}
traced <- function(fit, data) {
  free <- if (fit@Model@eq.constraints) fit@Model@eq.constraints.K else diag(fit@Model@nx.free)
  scores <- lavScores(fit, scaling = FALSE, ignore.constraints = TRUE, remove.duplicated = FALSE) %*% free
  stratum <- strata_of(data)
  bread <- solve(t(free) %*% lavInspect(fit, "information.observed") %*% free * nrow(scores))
  middle <- Reduce(`+`, lapply(unique(stratum), function(one) {
    sums <- rowsum(scores[stratum == one, , drop = FALSE], data$therapist[stratum == one])
    crossprod(sums) * nrow(sums) / (nrow(sums) - 1)
  }))
  list(vcov = free %*% bread %*% middle %*% bread %*% t(free), trace = sum(diag(bread %*% middle)))
}
tables <- function(fit) {
  raw <- suppressWarnings(parameterEstimates(fit))
  standard <- suppressWarnings(standardizedSolution(fit))
  kept <- raw$op != "=="
  standard <- standard[standard$op != "==", ]
  data.frame(raw[kept, c("lhs", "op", "rhs", "group")], estimate = raw$est[kept], std_error = raw$se[kept],
             standardized = standard$est.std, std_error_standardized = standard$se)
}
left_out <- function(case, data) {
  values <- function(data) {
    found <- tables(polished(c(settings_of(case, data))))
    c(found$estimate, found$standardized)
  }
  stratum <- strata_of(data)
  spread <- 0
  for (one in unique(stratum)) {
    therapists <- unique(data$therapist[stratum == one])
    without <- sapply(therapists, function(therapist) values(data[data$therapist != therapist, ]))
    spread <- spread + (length(therapists) - 1) / length(therapists) * rowSums((without - rowMeans(without))^2)
  }
  half <- length(spread) / 2
  list(raw = sqrt(spread[1:half]), standardised = sqrt(spread[half + 1:half]))
}
one <- function(site, name) {
  case <- given$models[[name]]
  data <- used(case, rows[rows$site == site, ])
  fit <- polished(settings_of(case, data))
  everything <- combn(unlist(case$variables), 2, paste, collapse = " ~~ ")
  free <- polished(settings_of(list(model = paste(c(paste(case$variables, "~~", case$variables), everything), collapse = "\n")), data))
  own <- traced(fit, data)
  fit@vcov$vcov <- own$vcov
  fit@ParTable$se <- lavaan:::lav_model_vcov_se(fit@Model, lavpartable = fit@ParTable, VCOV = own$vcov)
  measures <- as.list(fitMeasures(fit, c("chisq", "df", "pvalue", "cfi", "tli", "rmsea", "srmr", "aic", "bic")))
  if (measures$df > 0) {
    measures$scaling <- (traced(free, data)$trace - own$trace) / measures$df
    measures$chisq.scaled <- measures$chisq / measures$scaling
  }
  clustered <- do.call("sem", c(settings_of(case, data), list(cluster = "therapist")))
  list(parameters = tables(fit), fit = measures, n = lavInspect(fit, "nobs"),
       lavaan_scaled = as.list(fitMeasures(clustered, c("chisq.scaled", "chisq.scaling.factor"))),
       jackknife = if (paste(site, name) %in% given$left_out) left_out(case, data))
}
invisible(capture.output(found <- lapply(setNames(nm = given$sites), function(site) {
  lapply(setNames(nm = names(given$models)), function(name) one(site, name))
})))
cat(toJSON(found, digits = NA, auto_unbox = TRUE, na = "null", null = "null"))
