# Overlap of measures from the answers of clients: correlations, omega total and what they correct, HTMT, means and contrasts of shared
# variance, contrasts of prediction; every standard error by leaving out each therapist and computing all of it again.
# Usage: Rscript overlap.R <folder with ratings.csv, outcomes.csv, forms.json>; prints JSON.
suppressMessages({library(jsonlite); library(psych); library(semTools)})
folder <- commandArgs(TRUE)[1]
ratings <- read.csv(file.path(folder, "ratings.csv")); outcomes <- read.csv(file.path(folder, "outcomes.csv"))
about <- fromJSON(file.path(folder, "forms.json"), simplifyVector = FALSE)
items <- paste0("i", 1:12)

# Turned answers and scores; a scale needs 80 % of its items.
tables <- list()
for (form in about$forms) {
  one <- ratings[ratings$instrument == form$instrument & ratings$rater == form$rater, ]
  for (item in form$reverse) one[[paste0("i", item)]] <- form$low + form$high - one[[paste0("i", item)]]
  scales <- about$scales[[form$instrument]]
  scales <- lapply(scales, function(x) paste0("i", unlist(x)))
  scales$total <- unname(unlist(scales))
  for (scale in names(scales)) {
    answers <- as.matrix(one[scales[[scale]]])
    one[[scale]] <- ifelse(rowMeans(!is.na(answers)) >= 0.8, rowMeans(answers, na.rm = TRUE), NA)
  }
  one <- one[rowSums(!is.na(one[names(scales)])) > 0, ]
  tables[[paste(form$instrument, form$rater, sep = ".")]] <- list(data = one, scales = scales)
}

omega <- function(covariance) {
  fit <- factanal(covmat = covariance, factors = 1, control = list(lower = 1e-4, opt = list(factr = 1e4, maxit = 10000)))
  loading <- as.numeric(fit$loadings) * sqrt(diag(covariance)); left <- fit$uniquenesses * diag(covariance)
  sum(loading)^2 / (sum(loading)^2 + sum(left))
}
client_items <- function(own, other, scale, without) {
  both <- merge(own$data, other$data[c("client", "session")], by = c("client", "session"))
  both <- both[!both$therapist %in% without, ]
  means <- aggregate(both[own$scales[[scale]]], both["client"], mean, na.rm = TRUE, na.action = na.pass)
  means[is.na(means)] <- NA
  rownames(means) <- means$client
  means[own$scales[[scale]]]
}
pair <- function(a, scale_a, b, scale_b, without = NULL) {
  one <- tables[[a]]; two <- tables[[b]]
  wide <- merge(one$data[c("client", "therapist", "session", scale_a)], two$data[c("client", "session", scale_b)], by = c("client", "session"))
  names(wide)[4:5] <- c("x", "y")
  wide <- wide[!is.na(wide$x) & !is.na(wide$y) & !wide$therapist %in% without, ]
  means <- aggregate(wide[c("x", "y")], wide["client"], mean)
  r <- cor(means$x, means$y)
  first <- client_items(one, two, scale_a, without); second <- client_items(two, one, scale_b, without)
  reliability <- c(omega(cov(na.omit(first))), omega(cov(na.omit(second))))
  list(r = r, corrected = r / sqrt(prod(reliability)), reliability = reliability, first = first, second = second, n = nrow(means))
}
ratio <- function(first, second) {
  names(first) <- paste0("a", seq_along(first)); names(second) <- paste0("b", seq_along(second))
  both <- merge(first, second, by = "row.names")[, -1]
  r <- cor(both, use = "pairwise.complete.obs")
  # Items of one scale correlate over all clients who have that form's answers.
  r[names(first), names(first)] <- cor(first, use = "pairwise.complete.obs")
  r[names(second), names(second)] <- cor(second, use = "pairwise.complete.obs")
  model <- paste0("A =~ ", paste(names(first), collapse = "+"), "\nB =~ ", paste(names(second), collapse = "+"))
  as.numeric(htmt(model, sample.cov = r, absolute = TRUE, htmt2 = FALSE)[2, 1])
}
therapists <- sort(unique(ratings$therapist))
jackknife <- function(f) {
  without <- sapply(therapists, f)
  sqrt((length(without) - 1) / length(without) * sum((without - mean(without))^2))
}
with_error <- function(f) list(estimate = f(NULL), std_error = jackknife(f))

pairs <- list(); parts <- c("task", "bond", "goal")
for (a in c(parts, "total")) for (b in if (a == "total") "total" else parts) {
  name <- paste0("wai_s.", b, ".client ~~ wai_sr.", a, ".client")
  all <- pair("wai_s.client", b, "wai_sr.client", a)
  pairs[[name]] <- list(
    r = all$r, n = all$n, reliability = all$reliability,
    corrected = with_error(function(out) pair("wai_s.client", b, "wai_sr.client", a, out)$corrected),
    htmt = with_error(function(out) { one <- pair("wai_s.client", b, "wai_sr.client", a, out); ratio(one$first, one$second) })
  )
}
raters <- with_error(function(out) pair("wai_s.client", "total", "wai_s.therapist", "total", out)$corrected)

grid <- expand.grid(a = parts, b = parts, stringsAsFactors = FALSE)
squares <- function(chosen, out) mean(apply(chosen, 1, function(one) pair("wai_s.client", one["b"], "wai_sr.client", one["a"], out)$r^2))
same <- grid[grid$a == grid$b, ]; other <- grid[grid$a != grid$b, ]
overlap <- list(
  all = with_error(function(out) squares(grid, out)),
  parallel = with_error(function(out) squares(same, out)),
  non_parallel = with_error(function(out) squares(other, out)),
  contrast = with_error(function(out) squares(same, out) - squares(other, out))
)
within <- list()
for (form in names(tables)) {
  combined <- combn(parts, 2)
  means <- function(what) function(out) mean(apply(combined, 2, function(two) pair(form, two[1], form, two[2], out)[[what]]))
  within[[form]] <- list(r = with_error(means("r")), corrected = with_error(means("corrected")))
}

# Prediction of the outcome (turned: higher is better) by the mean total over the sessions of the window.
level <- function(form) aggregate(list(x = tables[[form]]$data$total), tables[[form]]$data["client"], mean, na.rm = TRUE)
merged <- Reduce(function(x, y) merge(x, y, by = "client", all = TRUE),
                 list(level("wai_s.client"), level("wai_sr.client"), level("wai_s.therapist"), outcomes))
names(merged) <- c("client", "wai_s.client", "wai_sr.client", "wai_s.therapist", "intake", "post")
merged$therapist <- ratings$therapist[match(merged$client, ratings$client)]
merged$post <- -merged$post; merged$intake <- -merged$intake
left <- function(y, x) residuals(lm(y ~ x))
prediction <- list()
for (two in list(c("wai_s.client", "wai_sr.client"), c("wai_s.client", "wai_s.therapist"))) for (form in c("zero_order", "ancova")) {
  used <- na.omit(merged[c(two, "post", "therapist", if (form == "ancova") "intake")])
  values <- function(data) {
    columns <- data[c(two, "post")]
    if (form == "ancova") columns <- as.data.frame(lapply(columns, left, x = data$intake))
    cor(columns)
  }
  difference <- function(out) { r <- values(used[!used$therapist %in% out, ]); r[1, 3] - r[2, 3] }
  r <- values(used); n <- nrow(used) - (form == "ancova")
  test <- r.test(n = n, r12 = r[1, 3], r13 = r[2, 3], r23 = r[1, 2])
  prediction[[paste(two[1], two[2], form)]] <- c(with_error(difference), list(first = r[1, 3], second = r[2, 3], n = nrow(used), t = test$t, p = test$p))
}
cat(toJSON(list(pairs = pairs, raters = raters, overlap = overlap, within = within, prediction = prediction), auto_unbox = TRUE, digits = NA))
