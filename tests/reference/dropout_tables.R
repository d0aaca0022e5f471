# The tables on dropout from clients, sessions and ratings on, by glm, glmer, survfit and metafor.
suppressMessages({library(lme4); library(survival); library(metafor)})
folder <- commandArgs(TRUE)[1]
sites <- c("a", "b", "c")
read <- function(name) read.csv(file.path(folder, paste0(name, ".csv")), na.strings = "")
clients <- read("clients"); sessions <- read("sessions"); ratings <- read("ratings")
half <- 0.5; horizons <- c(5, 10)

prepare <- function(site) {
  own <- clients[clients$site == site, ]
  came <- sessions[sessions$site == site & sessions$attended == 1, ]
  own$sessions <- sapply(own$client, function(i) sum(came$client == i))
  r <- ratings[ratings$site == site, ]
  first <- sapply(own$client, function(i) r$score[r$client == i & r$session == 1])
  own$first <- (first - mean(first)) / sd(first)
  own$trait <- (own$affiliation - mean(own$affiliation)) / sd(own$affiliation)
  each <- own$of_therapist[!duplicated(own$therapist)]
  own$therapist_trait <- (own$of_therapist - mean(each)) / sd(each)
  own$severity <- (own$intake - mean(own$intake)) / sd(own$intake)
  attr(own, "rated") <- lapply(own$client, function(i) {
    seen <- sort(came$session[came$client == i])
    value <- sapply(seen, function(s) r$score[r$client == i & r$session == s])
    (value - mean(first)) / sd(first)
  })
  own
}

# Sessions at risk: those of treatments that were broken off end before their last.
periods <- function(own) {
  rated <- attr(own, "rated")
  do.call(rbind, lapply(seq_len(nrow(own)), function(k) {
    one <- own[k, ]
    last <- if (one$reason %in% c("planned", "unilateral")) one$sessions else one$sessions - 1
    if (last < 1) return(NULL)
    data.frame(site = one$site, client = one$client, therapist = paste(one$site, one$therapist), t = 1:last, first = one$first,
               change = rated[[k]][1:last] - rated[[k]][1], severity = one$severity, l = log2(1:last),
               trait = one$trait, therapist_trait = one$therapist_trait,
               y = as.integer(1:last == one$sessions & one$reason == "unilateral"),
               p = as.integer(1:last == one$sessions & one$reason == "planned"))
  }))
}
control <- glmerControl("bobyqa", tolPwrss = 1e-10, optCtrl = list(rhobeg = 0.02, rhoend = 1e-9))
fit <- function(formula, d, link = "cloglog") {
  m <- glmer(formula, d, binomial(link), nAGQ = 25, control = control)
  keep <- !grepl("Intercept|^site", names(fixef(m)))
  list(log_ratio = unname(fixef(m))[keep], error = unname(sqrt(diag(as.matrix(vcov(m)))))[keep], sd = unname(getME(m, "theta")))
}
plain <- function(d) glm(y ~ first + severity + l, binomial("cloglog"), d, control = list(epsilon = 1e-16, maxit = 1000))
# A hazard of planned endings of each session's own; none where nobody ended, all where everybody did.
planned <- function(d) {
  n <- table(factor(d$t, 1:16)); e <- tapply(d$p, factor(d$t, 1:16), sum); e[is.na(e)] <- 0
  inside <- which(e > 0 & e < n)
  k <- d[d$t %in% inside, ]
  m <- glm(p ~ 0 + factor(t) + first + severity, binomial("cloglog"), k, control = list(epsilon = 1e-16, maxit = 1000))
  base <- rep(-Inf, 16); base[inside] <- coef(m)[seq_along(inside)]; base[e > 0 & e == n] <- Inf
  list(base = base, slopes = tail(coef(m), 2))
}
risks <- function(d) {
  a <- coef(plain(d)); b <- planned(d)
  who <- d[!duplicated(d$client), ]
  sapply(c(half, -half), function(level) {
    whole <- sapply(seq_len(nrow(who)), function(i) {
      h <- 1 - exp(-exp(a[1] + a[2] * level + a[3] * who$severity[i] + a[4] * log2(1:16)))
      g <- 1 - exp(-exp(b$base + b$slopes[1] * level + b$slopes[2] * who$severity[i]))
      stay <- cumprod(1 - pmin(h + g, 1))
      cumsum(c(1, head(stay, -1)) * h)
    })
    rowMeans(whole)[horizons]
  })
}
jackknife <- function(whole, without) {
  g <- nrow(without)
  sqrt(colSums(sweep(without, 2, colMeans(without))^2) * (g - 1) / g)
}
kappa <- function(x, y) suppressWarnings(psych::cohen.kappa(cbind(as.integer(x), as.integer(y)))$kappa)

out <- list(); all <- NULL
for (site in sites) {
  own <- prepare(site); d <- periods(own); all <- rbind(all, d)
  therapists <- unique(d$therapist)
  values <- c(risks(d)); gap <- values[1:2] - values[3:4]
  left <- t(sapply(therapists, function(g) c(risks(d[d$therapist != g, ]))))
  coefs <- t(sapply(therapists, function(g) coef(plain(d[d$therapist != g, ]))[2:4]))
  unilateral <- own$reason == "unilateral"
  broken <- !(own$reason %in% c("planned", "unilateral"))
  few <- !broken & own$sessions < 4
  early <- !broken & own$sessions < 0.5 * own$planned
  known_u <- !broken; known_f <- !broken | own$sessions >= 4; known_e <- !broken | own$sessions >= 0.5 * own$planned
  cuts <- quantile(own$first, c(1/3, 2/3))
  third <- ifelse(own$first <= cuts[1], "low", ifelse(own$first <= cuts[2], "middle", "high"))
  last <- ifelse(broken, own$sessions - 1, own$sessions)
  ending <- factor(ifelse(unilateral, 1, ifelse(broken, 0, 2)), 0:2)
  keep <- last > 0 & third == "low"
  s <- summary(survfit(Surv(last[keep], ending[keep]) ~ 1, id = own$client[keep]), times = 1:3)
  # Observed and expected for each therapist's clients, from the model without this therapist.
  lp <- sapply(seq_len(nrow(d)), function(i) NA)
  for (g in therapists) {
    m <- plain(d[d$therapist != g, ])
    lp[d$therapist == g] <- predict(m, d[d$therapist == g, ])
  }
  expected <- 1 - exp(-exp(lp))
  out[[site]] <- list(
    cloglog = fit(y ~ first + severity + l + (1 | therapist), d), logit = fit(y ~ first + severity + l + (1 | therapist), d, "logit"),
    varying = fit(y ~ first + change + severity + l + (1 | therapist), d),
    combination = fit(y ~ trait + therapist_trait + I(trait * therapist_trait) + l + (1 | therapist), d),
    over_time = fit(y ~ first + I(first * l) + severity + l + (1 | therapist), d),
    jackknife = list(log_ratio = unname(coef(plain(d))[2:4]), error = unname(jackknife(NULL, coefs))),
    risk = values, risk_error = unname(jackknife(NULL, left)), gap = gap, gap_error = unname(jackknife(NULL, left[, 1:2] - left[, 3:4])),
    events = sum(d$y), share = mean(unilateral[known_u]), few = mean(few[known_f]), early = mean(early[known_e]),
    kappa = c(kappa(early[known_e & known_f], few[known_e & known_f]), kappa(early[known_e & known_u], unilateral[known_e & known_u]),
              kappa(few[known_f & known_u], unilateral[known_f & known_u])),
    low = list(at_risk = s$n.risk[, 1], incidence = s$pstate[, 2], staying = s$pstate[, 1]),
    ratio = sum(d$y) / sum(expected), slope = unname(coef(glm(d$y ~ lp, binomial("cloglog")))[2]))
}
of <- function(part, k) sapply(sites, function(site) out[[site]][[part]][[k]][1])
pooled <- rma(of("cloglog", "log_ratio"), sei = of("cloglog", "error"), method = "REML")
out$pooled <- list(estimate = as.numeric(pooled$beta), tau2 = pooled$tau2)
out$whole <- fit(y ~ 0 + site + first + severity + l + (1 | therapist), all)
cat(jsonlite::toJSON(out, digits = NA, auto_unbox = TRUE))
