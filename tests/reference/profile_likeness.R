# Likeness of client's and therapist's profiles over items, from raw answers, by loops in base R and metafor.
# Argument: folder with answers.csv (site, client, therapist, session, rater, i1..i12; raw) and clients.csv (site, client, therapist, intake, post, stayed).
suppressPackageStartupMessages({library(jsonlite); library(metafor)})
folder <- commandArgs(TRUE)[1]
answers <- read.csv(file.path(folder, "answers.csv")); people <- read.csv(file.path(folder, "clients.csv"))
items <- paste0("i", 1:12); reversed <- c(4, 10); low <- 1; high <- 7
answers[items[reversed]] <- low + high - answers[items[reversed]]
answers <- answers[answers$session <= 5, ]
flat <- function(v) diff(range(v)) < 1e-9
# One profile a client and rater: the mean of each item over the sessions in which both answered it.
profiles <- function(site, chosen) {
  own <- answers[answers$site == site, ]; out <- list()
  for (client in sort(unique(own$client))) {
    a <- own[own$client == client & own$rater == "client", ]; b <- own[own$client == client & own$rater == "therapist", ]
    sessions <- intersect(a$session, b$session); if (!length(sessions)) next
    x <- as.matrix(a[match(sessions, a$session), chosen]); y <- as.matrix(b[match(sessions, b$session), chosen])
    keep <- !is.na(x) & !is.na(y); x[!keep] <- NA; y[!keep] <- NA
    x <- colMeans(x, na.rm = TRUE); y <- colMeans(y, na.rm = TRUE)
    if (anyNA(x) || anyNA(y) || flat(x) || flat(y)) next
    out[[length(out) + 1]] <- list(client = client, x = x, y = y, n = length(sessions))
  }
  out
}
likeness <- function(dyads) {
  X <- t(sapply(dyads, `[[`, "x")); Y <- t(sapply(dyads, `[[`, "y")); mx <- colMeans(X); my <- colMeans(Y)
  each <- sapply(seq_along(dyads), function(i) c(cor(X[i, ], Y[i, ]), cor(X[i, ] - mx, Y[i, ] - my),
    cor(X[i, ], Y[i, ], method = "spearman"), cor(round(X[i, ] - mx, 9), round(Y[i, ] - my, 9), method = "spearman")))
  c(rowMeans(each), cor(mx, my))
}
partial <- function(a, b, held) if (is.null(held)) cor(a, b) else cor(resid(lm(a ~ held)), resid(lm(b ~ held)))
predicts <- function(dyads, outcome, held) {
  X <- t(sapply(dyads, `[[`, "x")); Y <- t(sapply(dyads, `[[`, "y")); mx <- colMeans(X); my <- colMeans(Y)
  d <- sapply(seq_along(dyads), function(i) cor(X[i, ] - mx, Y[i, ] - my))
  c(partial(d, outcome, held), partial(d, outcome, cbind(held, rowMeans(X), rowMeans(Y))))
}
jack <- function(n, group, f) {
  values <- sapply(unique(group), function(g) f(group != g)); values <- matrix(values, ncol = length(unique(group)))
  g <- ncol(values); list(estimate = f(rep(TRUE, n)), se = sqrt((g - 1) / g * rowSums((values - rowMeans(values))^2)), n = n, k = g)
}
found <- list()
for (site in sort(unique(people$site))) {
  own <- people[people$site == site, ]; out <- list()
  for (scale in c("total", "goal")) {
    dyads <- profiles(site, if (scale == "total") items else items[c(4, 6, 10, 11)])
    row <- match(sapply(dyads, `[[`, "client"), own$client); therapist <- own$therapist[row]
    out[[scale]] <- jack(length(dyads), therapist, function(kept) likeness(dyads[kept]))
    out[[scale]]$sessions <- sum(sapply(dyads, `[[`, "n"))
    if (scale != "total") next
    post <- own$post[row]; intake <- own$intake[row]; stayed <- own$stayed[row]
    use <- !is.na(post) & !is.na(intake); a <- dyads[use]; p <- post[use]; q <- intake[use]
    out$outcome <- jack(length(a), therapist[use], function(kept) predicts(a[kept], p[kept], cbind(q[kept])))
    use <- !is.na(stayed); b <- dyads[use]; s <- stayed[use]
    out$stayed <- jack(length(b), therapist[use], function(kept) predicts(b[kept], s[kept], NULL))
  }
  found[[site]] <- out
}
z <- sapply(found, function(one) atanh(one$total$estimate[2])); v <- sapply(found, function(one) (one$total$se[2] / (1 - one$total$estimate[2]^2))^2)
fit <- rma.uni(z, v, method = "REML", test = "adhoc", control = list(threshold = 1e-14, maxiter = 10000))
pooled <- list(estimate = tanh(c(fit$beta)), se = fit$se, low = tanh(fit$ci.lb), high = tanh(fit$ci.ub), tau2 = fit$tau2)
cat(toJSON(list(sites = found, pooled = pooled), auto_unbox = TRUE, digits = NA), "\n")
