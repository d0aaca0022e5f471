# Ruptures by a drop of one SD within clients, written as loops over clients and sessions; outcome by lm, dropout by glm, agreement by psych.
suppressMessages(library(psych))
folder <- commandArgs(TRUE)[1]
ratings <- read.csv(file.path(folder, "ratings.csv"))
clients <- read.csv(file.path(folder, "clients.csv"))
coded <- read.csv(file.path(folder, "coded.csv"))
at_risk <- read.csv(file.path(folder, "periods.csv"))

means <- ave(ratings$score, ratings$client)
within <- sqrt(sum((ratings$score - means)^2) / (nrow(ratings) - length(unique(ratings$client))))

of_client <- function(own) {
  own <- own[order(own$session), ]
  if (nrow(own) < 4) return(NULL)
  found <- list(); judged <- 0; k <- 2
  fall_at <- function(k) own$session[k] - own$session[k - 1] == 1 && own$score[k - 1] - own$score[k] >= within
  for (j in 2:nrow(own)) judged <- judged + (own$session[j] - own$session[j - 1] == 1)
  if (judged == 0) return(NULL)
  while (k <= nrow(own)) {
    if (!fall_at(k)) { k <- k + 1; next }
    before <- own$score[k - 1]; low <- own$score[k]; low_at <- own$session[k]; start <- own$session[k]; last <- start
    repaired <- FALSE; at <- NA; j <- k + 1; next_k <- nrow(own) + 1
    while (j <= nrow(own)) {
      if (own$session[j] - low_at > 3) { next_k <- j; break }
      if (own$score[j] < low) { low <- own$score[j]; low_at <- own$session[j] }
      else if (own$score[j] >= low + 0.5 * (before - low)) { repaired <- TRUE; at <- own$session[j]; next_k <- j; break }
      last <- own$session[j]; j <- j + 1
    }
    length <- if (repaired) at - start else last - start + 1
    followed <- repaired || max(own$session) - low_at >= 3
    found[[length(found) + 1]] <- data.frame(start, repaired, at, depth = (before - low) / within, length, followed)
    k <- max(next_k, k + 1)
  }
  list(judged = judged, ruptures = do.call(rbind, found))
}
each <- lapply(split(ratings, ratings$client), of_client)
each <- each[!sapply(each, is.null)]
all <- do.call(rbind, lapply(names(each), function(id) if (!is.null(each[[id]]$ruptures)) cbind(client = as.integer(id), each[[id]]$ruptures)))
pattern <- sapply(each, function(one) if (is.null(one$ruptures)) "none" else if (all(one$ruptures$repaired)) "repaired" else "unrepaired")

rows <- merge(clients, data.frame(client = as.integer(names(pattern)), pattern), by = "client")
rows <- rows[complete.cases(rows), ]
contrasts_of <- function(rows) {
  fit <- lm(outcome ~ factor(pattern, c("none", "repaired", "unrepaired")) + intake + early, rows)
  d <- unname(coef(fit)[2:3]) / sigma(fit)
  c(d, d[1] - d[2])
}
whole <- contrasts_of(rows)
without <- sapply(unique(rows$therapist), function(out) contrasts_of(rows[rows$therapist != out, ]))
groups <- ncol(without)
errors <- sqrt((groups - 1) / groups * rowSums((without - rowMeans(without))^2))

seen <- data.frame(client = as.integer(names(pattern)), drop = pattern != "none")
by_code <- aggregate(rupture ~ client, coded, function(x) any(x > 0))
sessions_coded <- table(coded$client)
by_code <- by_code[sessions_coded[as.character(by_code$client)] >= 4, ]
both <- merge(seen, by_code, by = "client")
both$rupture <- as.logical(both$rupture)

# What clients report, and whether a drop begins at most a session away from a report, where a rating could be judged there.
reports <- read.csv(file.path(folder, "reports.csv"))
reports <- reports[table(reports$client)[as.character(reports$client)] >= 4, ]
told <- reports[reports$occurred == 1, ]
resolved <- tapply(told$resolution >= 4, told$client, all)
judged_at <- do.call(rbind, lapply(names(each), function(id) {
  own <- ratings[ratings$client == as.integer(id), ]; own <- own[order(own$session), ]
  data.frame(client = as.integer(id), session = own$session[-1][diff(own$session) == 1])
}))
close_to <- function(client, session, events) any(events$client == client & abs(events$session - session) <= 1)
could <- mapply(close_to, told$client, told$session, MoreArgs = list(judged_at))
also <- mapply(close_to, told$client, told$session, MoreArgs = list(data.frame(client = all$client, session = all$start)))
with_reports <- merge(seen, data.frame(client = unique(reports$client)), by = "client")
with_reports$told <- with_reports$client %in% told$client

state <- t(mapply(function(client, session) {
  own <- all[all$client == client & all$start <= session, ]
  if (!nrow(own)) return(c(0, 0))
  open <- any(!(own$repaired & own$at <= session))
  c(open, !open)
}, at_risk$client, at_risk$session))
at_risk$open <- state[, 1]; at_risk$healed <- state[, 2]
at_risk <- at_risk[at_risk$client %in% as.integer(names(each)), ]
hazard <- glm(event ~ open + healed + log2(position) + intake, binomial("cloglog"), at_risk, control = list(epsilon = 1e-12, maxit = 100))
v <- vcov(hazard)

level <- aggregate(score ~ client, ratings, mean); own_sd <- aggregate(score ~ client, ratings, sd); n <- table(ratings$client)
curve <- merge(merge(level, own_sd, by = "client", suffixes = c("_mean", "_sd")), clients, by = "client")
curve <- curve[n[as.character(curve$client)] >= 4, ]
z <- function(x) (x - mean(x)) / sqrt(mean((x - mean(x))^2))
curve$L <- z(curve$score_mean); curve$V <- z(curve$score_sd)
curve <- curve[complete.cases(curve[, c("outcome", "intake")]), ]
bent <- lm(z(outcome) ~ L + I(L^2) + V + I(V^2) + I(L * V) + intake, curve)

# Two lines: below and above the bend that was chosen, covariates held constant.
bend <- read.csv(file.path(folder, "bend.csv"))$bend
lined <- curve[complete.cases(curve[, c("outcome", "intake", "early")]), ]
lines_of <- function(d) {
  d$low <- ifelse(d$score_mean < bend, d$score_mean - bend, 0); d$high <- ifelse(d$score_mean > bend, d$score_mean - bend, 0)
  d$above <- d$score_mean > bend
  unname(coef(lm(outcome ~ low + high + above + intake + early, d))[2:3])
}
scale_of <- sd(lined$score_mean) / sd(lined$outcome)
two <- lines_of(lined) * scale_of
without <- sapply(unique(lined$therapist), function(out) lines_of(lined[lined$therapist != out, ])) * scale_of
two_errors <- sqrt((ncol(without) - 1) / ncol(without) * rowSums((without - rowMeans(without))^2))

cat(jsonlite::toJSON(list(
  within = within,
  clients = mean(pattern != "none"), repaired = mean(pattern == "repaired"), unrepaired = mean(pattern == "unrepaired"),
  sessions = nrow(all) / sum(sapply(each, function(one) one$judged)),
  of_ruptures = mean(all$repaired), not_followed = mean(!all$followed), depth = mean(all$depth), length = mean(all$length),
  contrasts = whole, errors = errors,
  told = list(clients = length(unique(told$client)) / length(unique(reports$client)), sessions = nrow(told) / nrow(reports),
    repaired = sum(resolved) / length(unique(reports$client)), unrepaired = sum(!resolved) / length(unique(reports$client)),
    of_ruptures = mean(told$resolution >= 4), depth = mean(told$intensity), not_followed = 0,
    also = sum(also & could) / sum(could), kappa = cohen.kappa(cbind(with_reports$drop, with_reports$told) * 1)$kappa),
  kappa = cohen.kappa(cbind(both$drop, both$rupture) * 1)$kappa, agreement = mean(both$drop == both$rupture),
  hazard = unname(exp(coef(hazard)[2:3])), hazard_errors = unname(sqrt(diag(v))[2:3]),
  hazard_contrast = unname(exp(coef(hazard)[2] - coef(hazard)[3])), hazard_contrast_error = sqrt(v[2, 2] + v[3, 3] - 2 * v[2, 3]),
  curve = unname(coef(bent)[2:6]), lines = two, lines_errors = two_errors
), digits = NA, auto_unbox = TRUE))
