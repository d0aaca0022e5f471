# Rated empathy and later confidence given earlier confidence: one site, 106 people.
# Usage: Rscript study_mibot.R <folder of the real data sets>; prints JSON.
suppressMessages({library(lavaan); library(psych); library(jsonlite)})
data <- read.csv(file.path(commandArgs(TRUE)[1], "mibot_care_empathy", "mibot_survey_no_freetext.csv"))
items <- sprintf("CAREQ%d", 1:10)
data[items][data[items] == 0] <- NA
answered <- rowSums(!is.na(data[items]))
data$empathy <- ifelse(answered >= 8, 10 * rowMeans(data[items], na.rm = TRUE), NA)
data$earlier <- data$PreRulerConfidence; data$after <- data$PostRulerConfidence; data$later <- data$WeekLaterRulerConfidence
data <- data[!is.na(data$empathy), ]
data$row <- seq_len(nrow(data))
# The models leave nothing over, so that their paths are regressions; errors leave out each person in turn.
paths <- function(rows, standardised = FALSE, two = "indirect" %in% wanted) {
  s <- cov(rows[c("empathy", "earlier", "after", "later")])
  if (standardised) s <- cov2cor(s)
  on <- function(outcome, predictors) setNames(solve(s[predictors, predictors], s[predictors, outcome]), predictors)
  if (!two) { one <- on("later", c("empathy", "earlier")); return(c(b = one[["empathy"]], d = one[["earlier"]])) }
  first <- on("after", c("empathy", "earlier")); second <- on("later", c("after", "empathy", "earlier"))
  c(a = first[["empathy"]], b = second[["after"]], c = second[["empathy"]], indirect = first[["empathy"]] * second[["after"]])
}
jackknife <- function(label, standardised = FALSE) {
  n <- nrow(data)
  without <- sapply(seq_len(n), function(i) paths(data[-i, ], standardised)[[label]])
  sqrt((n - 1) / n * sum((without - mean(without))^2))
}
values <- function(model, labels) {
  wanted <<- labels
  fit <- sem(model, data = data, fixed.x = FALSE, meanstructure = TRUE)
  raw <- parameterEstimates(fit); std <- standardizedSolution(fit)
  found <- setNames(raw$est[match(labels, raw$label)], labels)
  found_std <- setNames(std$est.std[match(labels, std$label)], labels)
  stopifnot(all.equal(found, paths(data)[labels], tolerance = 1e-6), all.equal(found_std, paths(data, TRUE)[labels], tolerance = 1e-6))
  lapply(setNames(labels, labels), function(label) {
    list(estimate = found[[label]], se = jackknife(label), std = found_std[[label]], std_se = jackknife(label, TRUE))
  })
}
one <- values("later ~ b*empathy + d*earlier", c("b", "d"))
two <- values("after ~ a*empathy + earlier
               later ~ b*after + c*empathy + earlier
               indirect := a*b", c("a", "b", "c", "indirect"))
least_squares <- coef(lm(later ~ empathy + earlier, data))
complete <- data[complete.cases(data[items]), items]
cat(toJSON(list(r = as.character(getRversion()), n = nrow(data), n_not_applicable = sum(10 - answered), n_complete = nrow(complete),
                mean = mean(data$empathy), sd = sd(data$empathy),
                alpha = suppressWarnings(psych::alpha(complete, warnings = FALSE))$total$raw_alpha,
                least_squares = as.list(least_squares), one = one, two = two), auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
