# Dominance of components by regressions on every set, and partial correlations by phase from residuals.
rows <- read.csv(file.path(commandArgs(TRUE)[1], "components.csv"))
scales <- c("task", "bond", "goal")
r2 <- function(d, phase, set) {
  terms <- c("intake", if (length(set)) paste0(set, ".", phase))
  summary(lm(reformulate(terms, "outcome"), d))$r.squared
}
dominance <- function(d, phase) sapply(scales, function(one) {
  others <- setdiff(scales, one)
  sets <- list(list(character()), as.list(others), list(others))
  mean(sapply(sets, function(level) mean(sapply(level, function(set) r2(d, phase, c(set, one)) - r2(d, phase, set)))))
})
partial <- function(d, name) cor(resid(lm(outcome ~ intake, d)), resid(lm(reformulate("intake", name), d)))
values <- function(d) {
  r <- c(sapply(scales, function(s) c(partial(d, paste0(s, ".early")), partial(d, paste0(s, ".late")))))
  change <- r[c(2, 4, 6)] - r[c(1, 3, 5)]
  z <- sapply(scales, function(s) cor(d$empathy, d[[paste0(s, ".early")]]))
  n <- nrow(d)
  level <- sapply(scales, function(s) mean(d[[paste0(s, ".late")]] - d[[paste0(s, ".early")]]) / (sd(d[[paste0(s, ".early")]]) * sqrt((n - 1) / n)))
  types <- c(sapply(c("type_1", "type_2"), function(s) c(partial(d, paste0(s, ".early")), partial(d, paste0(s, ".late")))))
  shift <- types[c(2, 4)] - types[c(1, 3)]
  c(r, change, mean(change[c(1, 3)]) - change[2], z, level, types, shift, shift[2] - shift[1])
}
result <- list()
for (site in unique(rows$site)) {
  own <- rows[rows$site == site, ]
  groups <- unique(own$therapist); g <- length(groups)
  without <- sapply(groups, function(t) values(own[own$therapist != t, ]))
  result[[site]] <- list(early = as.list(unname(dominance(own, "early"))), late = as.list(unname(dominance(own, "late"))),
    others = as.list(sapply(scales, function(s) summary(lm(reformulate(paste0(setdiff(scales, s), ".early"), paste0(s, ".early")), own))$r.squared)),
    together = r2(own, "early", scales) - r2(own, "early", character()), values = values(own),
    errors = sqrt((g - 1) / g * rowSums((without - rowMeans(without))^2)))
}
cat(jsonlite::toJSON(result, auto_unbox = TRUE, digits = NA))
