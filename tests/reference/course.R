# The tables on the course of the alliance from ratings by session on, by lme4, lavaan and base R.
suppressMessages({library(lme4); library(lmerTest); library(lavaan)})
rows <- read.csv(file.path(commandArgs(TRUE)[1], "sessions.csv"))
slope_of <- function(model, weights) {
  found <- contest(model, weights, joint = FALSE)
  list(estimate = found$Estimate, std_error = found$`Std. Error`, df = found$df)
}
jackknife <- function(own, f) {
  without <- sapply(unique(own$therapist), function(t) f(own[own$therapist != t, ]))
  without <- matrix(without, ncol = length(unique(own$therapist)))
  g <- ncol(without)
  list(estimate = as.list(f(own)), std_error = as.list(sqrt((g - 1) / g * rowSums((without - rowMeans(without))^2))))
}
without_line <- function(t) { x <- cbind(1, t); diag(length(t)) - x %*% solve(crossprod(x)) %*% t(x) }
result <- list()
frames <- list()
for (site in unique(rows$site)) {
  own <- rows[rows$site == site, ]
  own$score <- (own$score - mean(own$score)) / sd(own$score)
  own$time <- (own$session - 1) / 10
  own <- own[order(own$client, own$session), ]
  many <- own[own$client %in% names(which(table(own$client) >= 3)), ]
  frames[[site]] <- many
  line <- lmer(score ~ time + (time | client) + (1 | therapist), many)
  spread <- as.data.frame(VarCorr(line))
  sd_slope <- spread$sdcor[which(spread$grp == "client" & spread$var1 == "time" & is.na(spread$var2))]
  curved <- lmer(score ~ time + I(time^2) + (time | client) + (1 | therapist), many)
  many$before <- pmin(many$session, 3) / 10; many$after <- pmax(many$session - 3, 0) / 10
  bent <- lmer(score ~ before + after + (time | client) + (1 | therapist), many)
  knots <- seq(2, 6, .1)
  straight <- as.numeric(logLik(lmer(score ~ time + (time | client) + (1 | therapist), many, REML = FALSE)))
  profile <- sapply(knots, function(k) {
    many$over <- pmax(many$session - k, 0) / 10
    as.numeric(logLik(lmer(score ~ time + over + (time | client) + (1 | therapist), many, REML = FALSE))) - straight
  })
  # Where clients peak, and permutations of each client's sessions.
  wide <- function(sessions) {
    w <- reshape(own[own$session %in% sessions, c("client", "session", "score")], direction = "wide", idvar = "client", timevar = "session")
    w <- w[complete.cases(w), c("client", paste0("score.", sessions))]
    list(client = w$client, scores = as.matrix(w[, -1]))
  }
  five <- wide(1:5)
  peaks <- tabulate(apply(five$scores, 1, which.max), 5)
  set.seed(11)
  drawn <- replicate(4000, tabulate(apply(five$scores, 1, function(r) which.max(sample(r))), 5))
  expected <- sum(peaks) / 5
  p_whole <- mean(colSums((drawn - expected)^2) >= sum((peaks - expected)^2) - 1e-9)
  p_each <- sapply(1:5, function(s) mean(abs(drawn[s, ] - expected) >= abs(peaks[s] - expected) - 1e-9))
  # Variability: deviations from each client's line.
  long <- own[own$client %in% names(which(table(own$client) >= 6)), ]
  phi_of <- function(series) {
    ratio <- function(phi) {
      parts <- sapply(series, function(s) {
        m <- without_line(s$session); lag <- abs(outer(s$session, s$session, "-"))
        r <- m %*% (phi^lag) %*% m
        c(sum(r[lag == 1]) / 2, sum(diag(r)))
      })
      sum(parts[1, ]) / sum(parts[2, ])
    }
    seen <- sapply(series, function(s) {
      e <- resid(lm(score ~ session, s)); near <- which(diff(s$session) == 1)
      c(sum(e[near] * e[near + 1]), sum(e^2))
    })
    uniroot(function(phi) ratio(phi) - sum(seen[1, ]) / sum(seen[2, ]), c(-.9, .9), tol = 1e-10)$root
  }
  variability <- jackknife(long, function(d) {
    series <- split(d, d$client)
    squares <- sum(sapply(series, function(s) sum(resid(lm(score ~ session, s))^2)))
    df <- sum(sapply(series, nrow) - 2)
    steps <- unlist(lapply(series, function(s) diff(s$score)[diff(s$session) == 1]))
    c(sqrt(squares / df), sqrt(mean(steps^2)), phi_of(series))
  })
  several <- own[own$client %in% names(which(table(own$client) >= 2)), ]
  reliability <- jackknife(several, function(d) {
    a <- anova(lm(score ~ factor(client), d))$`Mean Sq`
    n <- table(d$client); size <- (sum(n) - sum(n^2) / sum(n)) / (length(n) - 1)
    between <- (a[1] - a[2]) / size
    sapply(c(1, 3, 5), function(k) between / (between + a[2] / k))
  })
  eight <- wide(1:8); therapist <- own$therapist[match(eight$client, own$client)]
  curves <- jackknife(data.frame(therapist, eight$scores), function(d) {
    s <- as.matrix(d[, -1]); n <- nrow(s)
    single <- mean(apply(s, 1, var)); seen <- var(colMeans(s)); group <- seen - (single - seen) / (n - 1)
    c(group, single, group / single)
  })
  clients <- do.call(rbind, lapply(split(long, long$client), function(s) data.frame(therapist = s$therapist[1], outcome = -s$outcome[1],
    intake = -s$intake[1], level = mean(s$score), step = log(sqrt(mean(diff(s$score)[diff(s$session) == 1]^2))))))
  lability <- jackknife(clients, function(d) cor(resid(lm(outcome ~ intake + level, d)), resid(lm(step ~ intake + level, d))))
  # Strongest cycle: what cosine and sine take beside the line.
  cyclic <- own[own$client %in% names(which(table(own$client) >= 10)), ]
  strongest <- t(sapply(split(cyclic, cyclic$client), function(s) {
    periods <- Filter(function(p) p <= (diff(range(s$session)) + 1) / 2, 3:8)
    rest <- sum(resid(lm(score ~ session, s))^2)
    power <- sapply(periods, function(p) 1 - sum(resid(lm(score ~ session + cos(2 * pi * session / p) + sin(2 * pi * session / p), s))^2) / rest)
    c(periods[which.max(power)], max(power))
  }))
  # Clients' lines and the outcome in one model.
  first <- reshape(own[own$session <= 8, c("client", "session", "score")], direction = "wide", idvar = "client", timevar = "session", sep = "")
  first <- merge(first, unique(own[, c("client", "therapist", "outcome", "intake")]))
  first$outcome <- as.numeric(scale(-first$outcome)); first$intake <- as.numeric(scale(-first$intake))
  model <- paste0("level =~ ", paste0("1*score", 1:8, collapse = " + "), "\nslope =~ ", paste0((0:7) / 10, "*score", 1:8, collapse = " + "),
    "\n", paste0("score", 1:8, " ~ 0*1", collapse = "\n"), "\n", paste0("score", 1:8, " ~~ e*score", 1:8, collapse = "\n"),
    "\nlevel ~ intake\nslope ~ intake\nlevel ~ 1\nslope ~ 1\nlevel ~~ slope\noutcome ~ level + slope + intake")
  fit <- sem(model, first, missing = "ml", fixed.x = FALSE, cluster = "therapist", meanstructure = TRUE)
  paths <- subset(standardizedSolution(fit), lhs == "outcome" & op == "~")
  result[[site]] <- list(
    slope = slope_of(line, c(0, 1)), sd_slope = sd_slope, residual = sigma(line), falling = pnorm(-fixef(line)[["time"]] / sd_slope),
    curvature = slope_of(curved, c(0, 0, 1)), before = slope_of(bent, c(0, 1, 0)), after = slope_of(bent, c(0, 0, 1)),
    change = slope_of(bent, c(0, -1, 1)), profile = profile, peaks = peaks / sum(peaks), n_peaks = sum(peaks), p_whole = p_whole,
    p_each = p_each, variability = variability, reliability = reliability, curves = curves, lability = lability,
    period = mean(strongest[, 1]), power = mean(strongest[, 2]), n_cycles = nrow(strongest),
    level_path = list(estimate = paths$est.std[paths$rhs == "level"], std_error = paths$se[paths$rhs == "level"]),
    slope_path = list(estimate = paths$est.std[paths$rhs == "slope"], std_error = paths$se[paths$rhs == "slope"]))
}
# All sites at once, each with an intercept of its own.
whole <- do.call(rbind, frames)
whole$client <- paste(whole$site, whole$client); whole$therapist <- paste(whole$site, whole$therapist)
whole$before <- pmin(whole$session, 3) / 10; whole$after <- pmax(whole$session - 3, 0) / 10
line <- lmer(score ~ 0 + site + time + (time | client) + (1 | therapist), whole)
curved <- lmer(score ~ 0 + site + time + I(time^2) + (time | client) + (1 | therapist), whole)
bent <- lmer(score ~ 0 + site + before + after + (time | client) + (1 | therapist), whole)
spread <- as.data.frame(VarCorr(line))
sd_slope <- spread$sdcor[which(spread$grp == "client" & spread$var1 == "time" & is.na(spread$var2))]
of_last <- function(model, weights) slope_of(model, c(rep(0, length(fixef(model)) - length(weights)), weights))
result[["(one stage)"]] <- list(
  slope = of_last(line, 1), sd_slope = sd_slope, residual = sigma(line), falling = pnorm(-fixef(line)[["time"]] / sd_slope),
  curvature = of_last(curved, 1), before = of_last(bent, c(1, 0)), after = of_last(bent, c(0, 1)), change = of_last(bent, c(-1, 1))
)
cat(jsonlite::toJSON(result, auto_unbox = TRUE, digits = NA))
