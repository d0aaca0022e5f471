# Client and therapist from the rows of sessions: lme4 and lmerTest, psych, lavaan, metafor, base R.
# Usage: Rscript congruence.R <folder with sessions.csv, clients.csv, therapists.csv, panel.txt>; prints JSON: site -> name -> numbers.
suppressMessages({library(lme4); library(lmerTest); library(psych); library(lavaan); library(metafor); library(jsonlite)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
source(file.path(here, "polished.R"))
folder <- commandArgs(TRUE)[1]
everyone <- read.csv(file.path(folder, "sessions.csv")); people <- read.csv(file.path(folder, "clients.csv"))
helpers <- read.csv(file.path(folder, "therapists.csv")); panel <- paste(readLines(file.path(folder, "panel.txt")), collapse = "\n")
# Leave out each therapist (or client) in turn; f takes rows.
jack <- function(d, f, by = d$therapist) {
  values <- sapply(unique(by), function(g) f(d[by != g, , drop = FALSE])); values <- matrix(values, nrow = length(f(d)))
  G <- ncol(values); centred <- values - rowMeans(values)
  list(estimate = f(d), vcov = (G - 1) / G * centred %*% t(centred), df = G - 1)
}
flat <- function(j) list(estimate = as.numeric(j$estimate), se = sqrt(diag(j$vcov)), df = j$df)
z <- function(x) (x - mean(x)) / sd(x)
limits <- function(d) {
  diff <- d$first - d$second; m <- table(d$client); a <- anova(lm(diff ~ factor(d$client)))
  msb <- a[1, 3]; msw <- a[2, 3]; n <- length(m); size <- (sum(m)^2 - sum(m^2)) / ((n - 1) * sum(m))
  between <- max(0, (msb - msw) / size); reach <- qnorm(.975) * sqrt(between + msw)
  s <- function(u, v) mean((u - mean(u)) * (v - mean(v)))
  ccc <- 2 * s(d$first, d$second) / (s(d$first, d$first) + s(d$second, d$second) + (mean(d$first) - mean(d$second))^2)
  c(mean(diff), mean(diff) - reach, mean(diff) + reach, sqrt(between), sqrt(msw), atanh(ccc))
}
deviations <- function(d, names) { for (v in names) d[[v]] <- d[[v]] - ave(d[[v]], d$client); d }
surface <- list(a1 = quote(b1 + b2), a2 = quote(b3 + b4 + b5), a3 = quote(b1 - b2), a4 = quote(b3 - b4 + b5), a5 = quote(b3 - b5),
  x0 = quote((b2 * b4 - 2 * b1 * b5) / (4 * b3 * b5 - b4^2)), y0 = quote((b1 * b4 - 2 * b2 * b3) / (4 * b3 * b5 - b4^2)))
surface$p11 <- quote((b5 - b3 + sqrt((b3 - b5)^2 + b4^2)) / b4); surface$p21 <- quote((b5 - b3 - sqrt((b3 - b5)^2 + b4^2)) / b4)
surface$p10 <- bquote(.(surface$y0) - (.(surface$p11)) * (.(surface$x0))); surface$p20 <- bquote(.(surface$y0) - (.(surface$p21)) * (.(surface$x0)))
delta <- function(b, vcov) {
  names(b) <- paste0("b", 0:5); at <- as.list(b)
  lapply(surface, function(e) {
    slopes <- sapply(names(b), function(v) eval(D(e, v), at))
    list(estimate = eval(e, at), se = sqrt(drop(slopes %*% vcov %*% slopes)))
  })
}
poly <- z ~ x + y + I(x^2) + I(x * y) + I(y^2)
with_lines <- function(d, f, clients = d$client) {
  j <- jack(d, f); alone <- jack(d, f, clients); sent <- cov2cor(alone$vcov) * outer(sqrt(diag(j$vcov)), sqrt(diag(j$vcov)))
  whole <- function(v) if (nrow(v) == 6) v else { w <- matrix(0, 6, 6); w[2:6, 2:6] <- v; w }
  list(b = flat(j), lines = delta(c(rep(0, 6 - length(j$estimate)), j$estimate), whole(j$vcov)), sent = sent)
}
aicc <- function(m, extra = 0) { k <- attr(logLik(m), "df") + extra; n <- nobs(m); -2 * as.numeric(logLik(m)) + 2 * k + 2 * k * (k + 1) / (n - k - 1) }
found <- list(); sent <- list()
for (site in unique(everyone$site)) {
  all <- everyone[everyone$site == site, ]; own <- people[people$site == site, ]; helper <- helpers[helpers$site == site, ]
  d <- all[!is.na(all$first) & !is.na(all$second), ]; out <- list()
  spread <- sqrt((var(d$first) + var(d$second)) / 2)
  out$icc <- ICC(d[c("first", "second")], lmer = FALSE)$results[2, "ICC"]
  j <- jack(d, limits); out$limits <- flat(j); out$spread <- spread
  means <- aggregate(cbind(first, second) ~ client + therapist, d, mean); means <- means[order(means$client), ]
  both <- sqrt((var(means$first) + var(means$second)) / 2)
  band <- function(a, b) cbind(abs(b - a) <= .5, a - b > .5, b - a > .5)
  member <- cbind(means, band(means$first / both, means$second / both), band(z(means$first), z(means$second)))
  names(member)[5:10] <- paste0("m", 1:6)
  out$bands <- flat(jack(member, function(r) colMeans(r[5:10])))
  # Truth and bias.
  d$truth <- d$first / spread; d$judge <- d$second / spread; centre <- mean(d$truth); d$mean <- ave(d$truth, d$client)
  d$distance <- d$judge - centre; d$within <- d$truth - d$mean; d$between <- d$mean - centre
  m <- lmer(distance ~ within + between + (1 | therapist) + (1 + within | therapist:client), d,
    control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9), calc.derivs = FALSE))
  s <- coef(summary(m)); out$truth <- list(estimate = s[, 1], se = s[, 2], df = s[, 3], sd = as.data.frame(VarCorr(m))$sdcor)
  scales <- c("task", "bond", "goal")
  fits <- function(r) unlist(lapply(scales, function(v) {
    t <- r[[paste0("first_", v)]]; g <- r[[paste0("second_", v)]]; tw <- t - ave(t, r$client); gw <- g - ave(g, r$client)
    mt <- tapply(t, r$client, mean); mg <- tapply(g, r$client, mean)
    c(mean(g - t), sum(tw * gw) / sum(tw^2), coef(lm(mg ~ mt))[2])
  }))
  unit <- rep(sapply(scales, function(v) sqrt((var(d[[paste0("first_", v)]]) + var(d[[paste0("second_", v)]])) / 2)), each = 3)
  unit[c(2, 3, 5, 6, 8, 9)] <- 1
  contrasts <- function(r) { v <- fits(r) / unit; c(v, v[1:3] - v[4:6], v[1:3] - v[7:9], v[4:6] - v[7:9]) }
  out$scales <- flat(jack(d, contrasts))
  d$training <- as.numeric(helper$training[match(d$therapist, helper$therapist)])
  per_client <- tapply(d$training, d$client, mean); d$training <- (d$training - mean(per_client)) / sd(per_client)
  for (v in c("session", "training")) {
    d$m <- d[[v]] - mean(d[[v]])
    out[[paste0("moderated_", v)]] <- flat(jack(d, function(r) coef(lm(distance ~ within + between + m + I(within * m), r))[4:5]))
  }
  # Actor and partner: symptoms of the next session with symptoms, at most two later.
  d$symptoms <- sapply(seq_len(nrow(d)), function(i) {
    later <- all[all$client == d$client[i] & all$session > d$session[i] & all$session <= d$session[i] + 2 & !is.na(all$symptoms), ]
    if (nrow(later)) -later$symptoms[which.min(later$session)] else NA
  })
  r <- d[!is.na(d$symptoms), ]; r$symptoms <- z(r$symptoms); r$first <- r$first / spread; r$second <- r$second / spread
  names_of <- c("first", "second", "session", "symptoms")
  w <- r[ave(r$first, r$client, FUN = length) > 1, ]
  effects <- function(b) c(b[1], b[2], b[1] - b[2])
  k <- jack(w, function(q) { q <- deviations(q, names_of); effects(coef(lm(symptoms ~ 0 + first + second + session, q))) })
  # Fieller: values of k for which partner - k actor does not differ from zero.
  a <- k$estimate[1]; p <- k$estimate[2]; t2 <- qt(.975, k$df)^2; out$symptoms_within <- flat(k)
  f <- function(v) (p - v * a)^2 - t2 * (k$vcov[2, 2] - 2 * v * k$vcov[1, 2] + v^2 * k$vcov[1, 1])
  if (a^2 > t2 * k$vcov[1, 1]) out$fieller <- c(uniroot(f, c(p / a - 50, p / a), tol = 1e-12)$root, uniroot(f, c(p / a, p / a + 50), tol = 1e-12)$root)
  between <- function(q) { m <- aggregate(q[names_of], q["client"], mean); effects(coef(lm(symptoms ~ first + second + session, m))[-1]) }
  out$symptoms_between <- flat(jack(r, between))
  done <- own[!is.na(own$post) & !is.na(own$intake), ]; done$z <- z(-done$post); done$given <- z(-done$intake)
  o <- merge(means, done[c("client", "z", "given")], by = "client")
  out$outcome <- flat(jack(o, function(q) effects(coef(lm(z ~ I(first / spread) + I(second / spread) + given, q))[2:3])))
  # Panel of the alliance.
  place <- ave(d$session, d$client, FUN = function(v) ifelse(cumsum(c(0, diff(v)) > 5) > 0, 99, seq_along(v))); wide <- data.frame(client = sort(unique(d$client)))
  for (i in 1:5) for (v in c("first", "second")) {
    q <- d[place == i, ]; wide[[paste0(v, i)]] <- (q[[v]][match(wide$client, q$client)] - mean(d$first)) / spread
  }
  wide$therapist <- d$therapist[match(wide$client, d$client)]
  invisible(capture.output(fitted_panel <- polished(list(model = panel, data = wide, missing = "ml", estimator = "MLR", cluster = "therapist"))))
  e <- parameterEstimates(fitted_panel)
  e <- e[e$op == ":=", ]; out$panel <- list(name = e$lhs, estimate = e$est, se = e$se)
  # Surfaces.
  c2 <- merge(means, done[c("client", "z", "given")], by = "client", all.x = TRUE)
  scaled <- function(q) { v <- sqrt((var(q$first) + var(q$second)) / 2); m <- mean(c(q$first, q$second)); transform(q, x = (first - m) / v, y = (second - m) / v) }
  o <- scaled(c2); o <- o[!is.na(o$z), ]; o$z <- z(o$z); o$g <- o$given - mean(o$given)
  out$surface <- with_lines(o, function(q) coef(lm(update(poly, . ~ . + g), q))[1:6])
  models <- list(z ~ 1, z ~ x, z ~ y, z ~ x + y, z ~ x + y + I(x * y), z ~ I((x - y)^2), z ~ I(x + y) + I((x - y)^2), poly)
  out$aicc <- sapply(models, function(g) aicc(lm(update(g, . ~ . + g), o)))
  w$x <- w$first - ave(w$first, w$client); w$y <- w$second - ave(w$second, w$client); v <- sqrt((var(w$x) + var(w$y)) / 2); w$x <- w$x / v; w$y <- w$y / v
  terms <- function(q) { q$xx <- q$x^2; q$xy <- q$x * q$y; q$yy <- q$y^2; q$s <- q$session; q$z <- q$symptoms; deviations(q, c("x", "y", "xx", "xy", "yy", "s", "z")) }
  out$surface_within <- with_lines(w, function(q) coef(lm(z ~ 0 + x + y + xx + xy + yy + s, terms(q)))[1:5])
  e <- merge(scaled(means), own[c("client", "dropout")], by = "client"); e$z <- 1 - e$dropout
  exact <- glm.control(epsilon = 1e-14, maxit = 100)
  out$dropout <- with_lines(e, function(q) coef(glm(poly, binomial, q, control = exact)))[c("b", "lines")]
  sent[[site]] <- list(y = out$surface$b$estimate, v = out$surface$sent); out$surface$sent <- out$surface_within$sent <- NULL
  o$site <- site; found$rows <- rbind(found$rows, o); found$sites[[site]] <- out
}
# Coefficients pooled together, T without covariances; guarded factor of Jackson and Riley.
k <- length(sent); y <- unlist(lapply(sent, `[[`, "y")); v <- bldiag(lapply(sent, `[[`, "v")); term <- factor(rep(0:5, k)); place <- rep(seq_len(k), each = 6)
m <- rma.mv(y, v, mods = ~ 0 + term, random = ~ term | place, struct = "DIAG", method = "REML", control = list(optimizer = "optim", optmethod = "BFGS", reltol = 1e-14, maxit = 5000))
r <- y - as.numeric(fitted(m)); factor <- max(1, drop(t(r) %*% solve(m$M) %*% r) / (6 * k - 6)); vb <- vcov(m) * factor
pooled <- list(b = as.numeric(coef(m)), se = sqrt(diag(vb)), tau2 = m$tau2, lines = delta(as.numeric(coef(m)), vb))
# All rows at once, an intercept a site; AICc with the same.
rows <- found$rows; rows$therapist <- paste(rows$site, rows$therapist); rows$client <- paste(rows$site, rows$client)
joint <- with_lines(rows, function(q) coef(lm(update(poly, . ~ . + given + site), q))[2:6])
own_models <- list(z ~ 1, z ~ x, z ~ y, z ~ x + y, z ~ x + y + I(x * y), z ~ I((x - y)^2), z ~ I(x + y) + I((x - y)^2), poly)
joint_aicc <- sapply(own_models, function(g) aicc(lm(update(g, . ~ . + given + site), rows)))
cat(toJSON(list(sites = found$sites, pooled = pooled, one_stage = joint[c("b", "lines")], one_stage_aicc = joint_aicc), digits = NA, auto_unbox = TRUE))
