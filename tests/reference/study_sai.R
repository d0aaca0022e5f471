# Reliability of the state anxiety items in every study, and stability from the first to the second occasion.
# Usage: Rscript study_sai.R <folder of the real data sets>; prints JSON.
suppressMessages({library(psych); library(metafor); library(jsonlite)})
data <- read.csv(file.path(commandArgs(TRUE)[1], "psychtools_sai", "sai.csv"))
items <- names(data)[4:23]
reversed <- c(1, 2, 5, 8, 10, 11, 15, 16, 19, 20)
data[items[reversed]] <- 5 - data[items[reversed]]
describe_rows <- function(rows) {
  complete <- rows[complete.cases(rows[items]), items]
  a <- suppressMessages(suppressWarnings(psych::alpha(complete, check.keys = FALSE, warnings = FALSE)))
  list(alpha = a$total$raw_alpha, n_complete = nrow(complete), r_drop = as.list(unname(a$item.stats$r.drop)))
}
score <- function(rows) {
  answered <- rowSums(!is.na(rows[items]))
  ifelse(answered >= 0.8 * length(items), rowMeans(rows[items], na.rm = TRUE), NA)
}
sites <- list(); y <- c(); v <- c()
for (label in sort(unique(data$study), method = "radix")) {
  rows <- data[data$study == label, ]
  name <- gsub(".", "-", tolower(label), fixed = TRUE)
  score_of <- score(rows)
  entry <- list(all = describe_rows(rows), n_rows = nrow(rows), n_scored = sum(!is.na(score_of)), mean = mean(score_of, na.rm = TRUE),
                sd = sd(score_of, na.rm = TRUE))
  entry$occasions <- lapply(setNames(sort(unique(rows$time)), sort(unique(rows$time))), function(t) describe_rows(rows[rows$time == t, ]))
  first <- rows[rows$time == 1 & !is.na(rows$id), ]; second <- rows[rows$time == 2 & !is.na(rows$id), ]
  second <- second[!duplicated(second$id), ]
  if (nrow(second)) {
    both <- merge(data.frame(id = first$id, x = score(first)), data.frame(id = second$id, y = score(second)))
    both <- both[complete.cases(both), ]
    entry$stability <- list(n = nrow(both), r = cor(both$x, both$y), slope = unname(coef(lm(y ~ x, both))[2]))
  }
  sites[[name]] <- entry
}
cat(toJSON(list(r = as.character(getRversion()), sites = sites), auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
