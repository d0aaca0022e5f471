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
values <- function(model, labels) {
  fit <- sem(model, data = data, fixed.x = FALSE, meanstructure = TRUE)
  raw <- parameterEstimates(fit); std <- standardizedSolution(fit)
  lapply(setNames(labels, labels), function(label) {
    i <- match(label, raw$label); j <- match(label, std$label)
    list(estimate = raw$est[i], se = raw$se[i], std = std$est.std[j], std_se = std$se[j])
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
