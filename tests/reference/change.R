# Proportions, the alliance around sudden gains and the unique share of the alliance, by lm and loops over therapists.
library(jsonlite)
folder <- commandArgs(trailingOnly = TRUE)[1]
rows <- read.csv(file.path(folder, "rows.csv"))
sessions <- read.csv(file.path(folder, "sessions.csv"))
gains <- read.csv(file.path(folder, "gains.csv"))

jackknife <- function(values) sqrt((length(values) - 1) / length(values) * sum((values - mean(values))^2))

counted <- rows$y > 30
share <- sapply(unique(rows$therapist), function(t) mean(counted[rows$therapist != t]))
plain <- prop.test(sum(counted), length(counted), correct = FALSE)$conf.int
proportion <- list(count = sum(counted), share = mean(counted), wilson_low = plain[1], wilson_high = plain[2], std_error = jackknife(share))

measures <- function(d) {
  without <- summary(lm(y ~ x + z, d))$r.squared
  with <- summary(lm(y ~ x + z + m, d))$r.squared
  left_m <- resid(lm(m ~ x + z, d))
  left_y <- resid(lm(y ~ x + z, d))
  c(partial_r = cor(left_m, left_y), semipartial_r = cor(left_m, d$y), delta_r2 = with - without,
    share_of_rest = (with - without) / (1 - without), r2_covariates = without, r2_total = with)
}
estimate <- measures(rows)
left <- sapply(unique(rows$therapist), function(t) measures(rows[rows$therapist != t, ]))
limits <- function(name) {
  se <- jackknife(atanh(left[name, ]))
  list(se_z = se, interval = tanh(atanh(estimate[[name]]) + c(-1, 1) * qt(.975, ncol(left) - 1) * se))
}
gain_share <- list(estimate = as.list(estimate), partial_r = limits("partial_r"), semipartial_r = limits("semipartial_r"))

difference <- function(s) {
  value <- function(rows_of, at) { v <- rows_of$alliance[rows_of$session %in% at]; if (all(is.na(v))) NA else mean(v, na.rm = TRUE) }
  position <- function(rows_of, n, window) {
    before <- value(rows_of, (n - window):(n - 1)); after <- value(rows_of, (n + 1):(n + window))
    c(before = before, at = value(rows_of, n), after = after, change = after - before)
  }
  per_client <- split(s, s$client)
  others <- per_client[!names(per_client) %in% gains$client]
  one <- function(window) {
    each <- lapply(which(gains$client %in% s$client), function(i) {
      own <- position(per_client[[as.character(gains$client[i])]], gains$session[i], window)
      own - rowMeans(sapply(others, position, n = gains$session[i], window = window), na.rm = TRUE)
    })
    rowMeans(do.call(cbind, each), na.rm = TRUE)
  }
  c(one(1), one(2))
}
all <- difference(sessions)
without <- sapply(unique(sessions$therapist), function(t) difference(sessions[sessions$therapist != t, ]))
error <- apply(without, 1, jackknife)
around <- list(difference = unname(all), std_error = unname(error))

cat(toJSON(list(proportion = proportion, gain_share = gain_share, around = around), digits = NA, auto_unbox = TRUE))
