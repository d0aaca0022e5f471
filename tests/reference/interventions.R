# Key numbers of the question on interventions from raw rows of sessions and events, by base R and lme4.
suppressPackageStartupMessages({library(jsonlite); library(lme4); library(splines)})
folder <- commandArgs(trailingOnly = TRUE)[1]
sessions <- read.csv(file.path(folder, "sessions.csv"))
events <- read.csv(file.path(folder, "events.csv"))

rate <- function(rows, chosen, intensity = FALSE) {
  coded <- unique(rows[, c("client", "session")])
  one <- rows[chosen, ]
  if (intensity) {
    one <- one[one$count > 0, ]
    names <- paste(one$client, one$session)
    sums <- tapply(one$count * one$intensity, names, sum) / tapply(one$count, names, sum)
    coded$value <- as.numeric(sums[paste(coded$client, coded$session)])
    return(coded[!is.na(coded$value), ])
  }
  sums <- tapply(one$count / (one$exposure / 60), paste(one$client, one$session), sum)
  coded$value <- as.numeric(sums[paste(coded$client, coded$session)])
  coded$value[is.na(coded$value)] <- 0
  coded
}
count_of <- function(rows, chosen) { one <- rate(transform(rows, exposure = 60), chosen); one }
at <- function(frame, name, client, session) {
  found <- match(paste(client, session), paste(frame$client, frame$session))
  frame[[name]][found]
}
within_sd <- function(x, g) sqrt(sum((x - ave(x, g))^2) / (length(x) - length(unique(g))))
jack <- function(rows, f) {
  whole <- f(rows)
  parts <- sapply(unique(rows$therapist), function(t) f(rows[rows$therapist != t, ]))
  parts <- matrix(parts, nrow = length(whole))
  n <- ncol(parts)
  list(estimate = whole, se = sqrt((n - 1) / n * rowSums((parts - rowMeans(parts))^2)), vcov = (n - 1) / n * tcrossprod(parts - rowMeans(parts)), df = n - 1)
}
coef_of <- function(rows, formula, name) unname(coef(lm(formula, rows))[name])
enough <- function(rows, k) rows[ave(rows$session, rows$client, FUN = length) >= k, ]

site_values <- function(s, e) {
  therapist <- tapply(s$therapist, s$client, `[`, 1)
  out <- list()
  lagged <- function(value) {
    f <- value[!is.na(at(s, "alliance", value$client, value$session)), ]
    names(f)[3] <- "event"
    f$alliance <- at(s, "alliance", f$client, f$session)
    f$next_alliance <- at(s, "alliance", f$client, f$session + 1)
    f$next_event <- at(value, "value", f$client, f$session + 1)
    f$therapist <- as.numeric(therapist[as.character(f$client)])
    f[order(f$client, f$session), ]
  }
  interpretation <- startsWith(e$code, "interpretation")
  inter <- rate(e, interpretation)
  f <- lagged(inter)
  ahead <- enough(f[!is.na(f$next_alliance), ], 2)
  slope <- function(d, y, x, held) {
    d$y <- d[[y]]; d$x <- d[[x]]; d$h <- d[[held]]
    coef_of(d, y ~ x + h + session + factor(client), "x") * within_sd(d$x, d$client) / within_sd(d$y, d$client)
  }
  if ("client_affiliation" %in% e$code) {
    # Complementary replies in sessions with challenges; products of deviations are made deviations again.
    challenged <- lagged(rate(e, startsWith(e$code, "challenge")))
    challenged <- challenged[challenged$event > 0 & !is.na(challenged$next_alliance), ]
    place <- function(code) { one <- e[e$code == code, ]; one$intensity[match(paste(challenged$client, challenged$session), paste(one$client, one$session))] }
    challenged$ca <- place("client_affiliation"); challenged$cd <- place("client_dominance")
    challenged$ta <- place("therapist_affiliation"); challenged$td <- place("therapist_dominance")
    challenged$fit <- -sqrt((challenged$ca - challenged$ta)^2 + (challenged$cd + challenged$td)^2)
    used <- enough(challenged, 3)
    # Levels of clients are scaled over all of them, and stay when a therapist is left out.
    level <- tapply(used$ca, used$client, mean)
    used$level <- ((level - mean(level)) / sd(level))[as.character(used$client)]
    out$circle <- jack(used, function(d) {
      own <- function(x) x - ave(x, d$client)
      x <- own(d$fit); m <- own(d$ca)
      b <- coef(lm(own(d$next_alliance) ~ 0 + x + m + own(x * m) + I(x * d$level) + own(d$alliance) + own(d$session) + own(d$cd) + own(d$ta) + own(d$td)))
      sy <- within_sd(d$next_alliance, d$client); sx <- within_sd(d$fit, d$client); sm <- within_sd(d$ca, d$client)
      alone <- b[[1]] * sx / sy; product <- b[[3]] * sx * sm / sy
      c(alone, product, alone - product, alone + product)
    })[1:2]
  }
  out$frequency <- jack(ahead, function(d) slope(d, "next_alliance", "event", "alliance"))[1:2]
  back <- enough(f[!is.na(f$next_event), ], 2)
  out$back <- jack(back, function(d) slope(d, "next_event", "alliance", "event"))[1:2]
  # Forward deviations of all, backward deviations as instruments, client by client.
  prior <- enough(f[!is.na(f$next_alliance), ], 3)
  iv <- function(d) {
    zw <- matrix(0, 3, 4)
    for (one in split(d, d$client)) {
      m <- as.matrix(one[, c("event", "alliance", "session", "next_alliance")])
      k <- nrow(m)
      for (t in seq_len(k)[-c(1, k)]) {
        forward <- sqrt((k - t) / (k - t + 1)) * (m[t, ] - colMeans(m[(t + 1):k, , drop = FALSE]))
        backward <- sqrt((t - 1) / t) * (m[t, ] - colMeans(m[1:(t - 1), , drop = FALSE]))
        zw <- zw + backward[1:3] %o% forward
      }
    }
    solve(zw[, 1:3], zw[, 4])[1] * within_sd(d$event, d$client) / within_sd(d$next_alliance, d$client)
  }
  out$prior <- jack(prior, iv)[1:2]
  all_ahead <- f[!is.na(f$next_alliance), ]
  between <- function(d) {
    m <- aggregate(cbind(event, next_alliance) ~ client, d, mean)
    raw <- unname(coef(lm(next_alliance ~ event, m))[2])
    inside <- coef_of(d, next_alliance ~ event + alliance + session + factor(client), "event")
    c(raw * sd(m$event) / sd(m$next_alliance), (raw - inside) * within_sd(d$event, d$client) / within_sd(d$next_alliance, d$client))
  }
  out$between <- jack(all_ahead, between)[1:2]
  # Accuracy by kind.
  kinds <- c("interpretation_wish_response_of_other", "interpretation_response_of_self")
  acc <- lapply(kinds, function(k) rate(e, e$code == k, TRUE))
  every <- unlist(lapply(acc, function(a) a$value))
  g <- lagged(rate(e, e$code == kinds[1]))
  g <- enough(g[!is.na(g$next_alliance), ], 2)
  g$y <- g$next_alliance / within_sd(g$next_alliance, g$client)
  for (k in 1:2) {
    v <- at(acc[[k]], "value", g$client, g$session)
    g[[paste0("said", k)]] <- as.numeric(!is.na(v))
    g[[paste0("value", k)]] <- ifelse(is.na(v), 0, (v - mean(every)) / sd(every))
  }
  accuracy <- function(d) {
    b <- coef(lm(y ~ value1 + value2 + said1 + said2 + alliance + session + factor(client), d))[c("value1", "value2")]
    unname(c(b, b[1] - b[2]))
  }
  out$accuracy <- jack(g, accuracy)[1:2]
  # Quadratic and two lines within clients.
  d <- ahead
  d$c <- d$event - mean(d$event)
  quad <- jack(d, function(d) unname(coef(lm(next_alliance ~ c + I(c^2) + alliance + session + factor(client), d))[2:3]))
  sx <- within_sd(d$event, d$client); sy <- within_sd(d$next_alliance, d$client)
  out$quadratic <- list(estimate = quad$estimate * c(sx, sx^2) / sy, se = quad$se * c(sx, sx^2) / sy)
  knots <- quantile(d$event, c(.1, .5, .9))
  basis <- function(x) ns(x, knots = knots[2], Boundary.knots = knots[c(1, 3)])
  b <- scale(basis(d$event), scale = FALSE)
  d$b1 <- b[, 1]; d$b2 <- b[, 2]
  smooth <- jack(d, function(d) unname(coef(lm(next_alliance ~ b1 + b2 + alliance + session + factor(client), d))[2:3]))
  shape <- if (quad$estimate[2] <= 0) 1 else -1
  height <- shape * drop(cbind(d$b1, d$b2) %*% smooth$estimate)
  error <- sqrt(rowSums((cbind(d$b1, d$b2) %*% smooth$vcov) * cbind(d$b1, d$b2)))
  middle <- d$event > knots[1] & d$event < knots[3]
  top <- max(height[middle])
  flat <- d$event[middle & (height + error > top | height == top)]
  lines <- function(bend) jack(d, function(d) {
    one <- function(high) {
      d$low <- ifelse(high, 0, d$event - bend); d$up <- ifelse(high, d$event - bend, 0); d$high <- as.numeric(high)
      coef(lm(next_alliance ~ low + up + high + alliance + session + factor(client), d))[c("low", "up")]
    }
    unname(c(one(d$event > bend)["low"], one(d$event >= bend)["up"]))
  })
  first <- lines(median(flat))
  z <- abs(first$estimate / first$se)
  bend <- unname(quantile(flat, z[2] / sum(z)))
  second <- lines(bend)
  out$lines <- list(bend = bend, estimate = second$estimate * sx / sy, se = second$se * sx / sy)
  # Answers to challenges by the alliance before.
  challenges <- count_of(e, e$code == "challenge"); answers <- count_of(e, e$code == "involvement")
  h <- data.frame(client = challenges$client, session = challenges$session, trials = challenges$value, successes = answers$value)
  before <- t(mapply(function(i, t) {
    mine <- s[s$client == i & s$session < t, ]
    if (nrow(mine)) c(mean(mine$alliance), mine$alliance[which.max(mine$session)]) else c(NA, NA)
  }, h$client, h$session))
  h$mean <- before[, 1]; h$last <- before[, 2]
  h <- h[h$trials > 0 & !is.na(h$mean) & paste(h$client, h$session) %in% paste(s$client, s$session), ]
  h$therapist <- as.numeric(therapist[as.character(h$client)])
  middle_level <- median(tapply(h$mean, h$client, mean))
  h$group <- as.numeric(h$mean > middle_level)
  h$within <- (h$last - h$mean) / sd(h$last - h$mean); h$between <- (h$mean - mean(h$mean)) / sd(h$mean)
  logits <- function(d) {
    p <- sapply(0:1, function(k) sum(d$successes[d$group == k]) / sum(d$trials[d$group == k]))
    c(qlogis(p), diff(qlogis(p)))
  }
  out$answers <- jack(h, logits)[1:2]
  fit <- function(formula) {
    model <- glmer(formula, h, family = binomial, nAGQ = 25, control = glmerControl(optimizer = "bobyqa", tolPwrss = 1e-10, optCtrl = list(rhoend = 1e-9)))
    list(estimate = unname(fixef(model)[-1]), se = unname(sqrt(diag(as.matrix(vcov(model, use.hessian = TRUE))))[-1]), sd = unname(sqrt(unlist(VarCorr(model)))))
  }
  out$group <- fit(cbind(successes, trials - successes) ~ group + (1 | client))
  out$parts <- fit(cbind(successes, trials - successes) ~ within + between + (1 | client))
  # Ruptures by the drop rule, client by client, and kinds of interpretation in the session after which repair is judged.
  spread <- within_sd(s$alliance, s$client)
  windows <- NULL
  for (one in split(s, s$client)) {
    one <- one[order(one$session), ]
    open <- FALSE
    if (nrow(one) < 4) next
    for (k in seq_len(nrow(one))[-1]) {
      value <- one$alliance[k]; session <- one$session[k]
      if (open) {
        if (session - lowest_at > 3) {
          open <- FALSE
        } else {
          back <- FALSE
          if (value < lowest) { lowest <- value; lowest_at <- session } else back <- value >= lowest + .5 * (before - lowest)
          previous <- one$session[k - 1]
          if (session == previous + 1) {
            windows <- rbind(windows, data.frame(client = one$client[1], session = session, depth = before - one$alliance[k - 1],
                                                 change = value - before, repaired = as.numeric(back)))
          }
          if (back) open <- FALSE
        }
      }
      if (!open && session == one$session[k - 1] + 1 && one$alliance[k - 1] - value >= spread) {
        open <- TRUE; before <- one$alliance[k - 1]; lowest <- value; lowest_at <- session
      }
    }
  }
  targets <- lapply(c("here_and_now", "outside"), function(t) {
    one <- rate(e, interpretation & e$target == t)
    one$own <- (one$value - ave(one$value, one$client)) / within_sd(one$value, one$client)
    one
  })
  windows$now <- at(targets[[1]], "own", windows$client, windows$session)
  windows$then <- at(targets[[2]], "own", windows$client, windows$session)
  windows$any_now <- at(targets[[1]], "value", windows$client, windows$session) > 0
  windows$any_then <- at(targets[[2]], "value", windows$client, windows$session) > 0
  windows <- windows[!is.na(windows$now), ]
  windows$therapist <- as.numeric(therapist[as.character(windows$client)])
  torn <- function(d) {
    b <- coef(lm(I(change / spread) ~ now + then + I(depth / spread) + session, d))[c("now", "then")]
    unname(c(b, b[1] - b[2]))
  }
  out$torn <- jack(windows, torn)[1:2]
  spoken <- windows[windows$any_now | windows$any_then, ]
  odds <- function(d) {
    p <- c(mean(d$repaired[!d$any_now]), mean(d$repaired[d$any_now]))
    c(qlogis(p), diff(qlogis(p)))
  }
  out$repaired <- jack(spoken, odds)[1:2]
  model <- glmer(repaired ~ any_now + (1 | client), spoken, family = binomial, nAGQ = 25, control = glmerControl(optimizer = "bobyqa", tolPwrss = 1e-10, optCtrl = list(rhoend = 1e-9)))
  out$repair_model <- list(estimate = unname(fixef(model)[2]), se = unname(sqrt(diag(as.matrix(vcov(model, use.hessian = TRUE))))[2]))
  # Attention by true initial level.
  now <- rate(e, interpretation & e$target == "here_and_now")
  first3 <- s[s$session <= 3, ]
  begin <- aggregate(alliance ~ client, first3, function(x) c(mean(x), length(x), if (length(x) > 1) var(x) else NA))
  begin <- data.frame(client = begin$client, begin$alliance)
  during <- aggregate(value ~ client, now[now$session >= 4 & now$session <= 6, ], mean)
  after <- aggregate(alliance ~ client, s[s$session > 6, ], mean)
  p <- merge(merge(begin, during, by = "client"), after, by = "client")
  names(p) <- c("client", "w", "m", "v", "f", "y")
  p$therapist <- as.numeric(therapist[as.character(p$client)])
  p$lowest <- p$w <= quantile(p$w, 1 / 3)
  poor <- function(d) {
    several <- d$m > 1
    noise <- sum(d$v[several] * (d$m[several] - 1)) / sum(d$m[several] - 1) / d$m
    d$f <- (d$f - mean(d$f)) / sd(d$f)
    line <- lm(w ~ f, d)
    left <- summary(line)$sigma^2 - mean(noise)
    truth <- var(d$w) - mean(noise)
    d$t <- (fitted(line) - mean(d$w) + left / (left + noise) * resid(line)) / sqrt(truth)
    d$o <- (d$w - mean(d$w)) / sd(d$w)
    d$ys <- d$y / sd(d$y)
    b <- coef(lm(ys ~ t * f, d)); n <- coef(lm(ys ~ o * f, d))
    gain <- mean((d$y - d$w)[d$lowest]) - mean(d$y - d$w)
    alone <- -(1 - truth / var(d$w)) * mean((d$w - mean(d$w))[d$lowest])
    unname(c(b["f"] - b["t:f"], b["f"] + b["t:f"], b["t:f"], n["o:f"], c(gain, alone, gain - alone) / sd(d$w), truth / var(d$w)))
  }
  out$poor <- jack(p, poor)[1:2]
  out
}
result <- lapply(split(seq_len(nrow(sessions)), sessions$site), function(i) {
  s <- sessions[i, ]
  site_values(s, events[events$site == s$site[1], ])
})
cat(toJSON(result, digits = NA, auto_unbox = TRUE))
