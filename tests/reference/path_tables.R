# Path models of single sites by lavaan, from the rows that sites sent.
# Usage: Rscript path_tables.R FOLDER   (FOLDER holds scores.csv, clients.csv, settings.json: models, nested, sites, slow)   writes JSON
# slow: standard errors by refits without each therapist (client, at the site with three) and bootstrap limits.
suppressMessages({library(lavaan); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
settings <- fromJSON(file.path(folder, "settings.json"))
scores <- read.csv(file.path(folder, "scores.csv")); clients <- read.csv(file.path(folder, "clients.csv"))
items <- c("x1", "x2", "x3", "y1", "y2", "y3")

# One value a client; symptoms are turned so that higher is better.
rows_of <- function(site) {
  d <- clients[clients$site == site, ]; s <- scores[scores$site == site, ]
  value <- function(keep) { v <- tapply(s$score[keep], s$client[keep], mean); as.numeric(v[as.character(d$client)]) }
  d$empathy <- value(s$instrument == "care" & s$session == 1)
  d$alliance <- value(s$instrument == "wai_36" & s$session >= 2 & s$session <= 5)
  d$outcome <- -value(s$instrument == "core_10" & s$timepoint == "post")
  d$intake_level <- -value(s$instrument == "core_10" & s$timepoint == "intake")
  d
}
variables_of <- function(model) lavNames(lavaanify(model, auto = TRUE, fixed.x = FALSE), "ov")
# As close as lavaan's optimiser goes without a false alarm.
closest <- function(arguments) {
  for (tolerance in c(1e-13, 1e-12, 1e-11, 1e-10)) {
    fit <- suppressWarnings(do.call("sem", c(arguments, list(baseline = FALSE, se = "none", test = "none", control = list(rel.tol = tolerance, iter.max = 5000)))))
    if (lavInspect(fit, "converged")) return(parTable(fit))
  }
  stop("no solution")
}
fitted <- function(model, d, robust = TRUE, start = NULL) {
  d <- d[rowSums(!is.na(d[variables_of(model)])) > 0, ]
  common <- list(model = model, data = d, missing = "fiml", fixed.x = FALSE, meanstructure = TRUE, em.h1.tol = 1e-11, em.h1.iter.max = 20000)
  if (!robust) return(suppressWarnings(do.call("sem", c(common, list(se = "none", test = "none", baseline = FALSE, h1 = FALSE, start = start, control = list(rel.tol = 1e-13))))))
  clustered <- length(unique(d$therapist)) >= 5
  suppressWarnings(do.call("sem", c(common, list(estimator = "MLR", start = closest(common)), if (clustered) list(cluster = "therapist"))))
}
key <- function(t) ifelse(t$op == ":=", t$lhs, paste(t$lhs, t$op, t$rhs))
both <- function(fit, keep = NULL) {
  t <- parTable(fit); t <- t[t$op != "==", ]; s <- standardizedSolution(fit, se = FALSE)
  s <- s[s$op != "==", ]
  v <- c(setNames(t$est, key(t)), setNames(s$est.std, paste(key(s), "(standardised)")))
  if (is.null(keep)) v[!grepl("~1", names(v))] else v[keep]
}
spread <- function(x) { n <- nrow(x); crossprod(scale(x, scale = FALSE)) * (n - 1) / n }
measures <- c("chisq", "df", "pvalue", "chisq.scaled", "pvalue.scaled", "chisq.scaling.factor", "cfi", "tli", "rmsea", "rmsea.ci.lower", "rmsea.ci.upper", "rmsea.pvalue", "srmr", "aic", "bic", "npar", "ntotal")
# lavaan takes variables out of the baseline model's free moments where the model names their covariance, which changes no other number;
# the baseline is that of the variables here, so that models of the same variables have the same one.
settings$models <- lapply(settings$models, function(model) sub("empathy ~~ intake_level\n", "", model, fixed = TRUE))
one <- function(site, name) {
  model <- settings$models[[name]]; d <- rows_of(site); d <- d[rowSums(!is.na(d[variables_of(model)])) > 0, ]
  fit <- fitted(model, d); fit0 <- fit
  table <- parameterEstimates(fit); table <- table[table$op != "==", ]
  standard <- standardizedSolution(fit); standard <- standard[standard$op == ":=", ]
  of_defined <- table$op == ":="
  out <- list(estimate = as.list(both(fit)), fit = as.list(fitMeasures(fit, measures)), n_clients = nrow(d), n_therapists = length(unique(d$therapist)),
              share_missing = mean(!complete.cases(d[variables_of(model)])))
  if (any(of_defined)) out$robust <- c(as.list(setNames(table$se[of_defined], table$lhs[of_defined])), as.list(setNames(standard$se, paste(standard$lhs, "(standardised)"))))
  # Leaving out each client of the site with three therapists takes long: of two models.
  if (settings$slow && (site != "c" || name %in% c("main", "two"))) {
    keep <- names(out$estimate); start <- parTable(fit)
    without <- function(unit) t(sapply(unique(unit), function(u) both(fitted(model, d[unit != u, ], FALSE, start), keep)))
    by <- if (out$n_therapists >= 5) d$therapist else d$client
    out$jackknife <- as.list(setNames(sqrt(diag(spread(without(by)))), keep))
    if (site == "b" && name == "main") {
      asked <- keep[grepl("standardised", keep) & grepl(" ~ ", keep)]
      out$by_client <- list(names = asked, correlation = cov2cor(spread(without(d$client)[, asked])))
    }
    # Whole therapists where there are ten, otherwise clients; percentiles are expanded for their number (Hesterberg, 2015).
    if (name == "main" && site %in% c("a", "b")) {
      unit <- if (site == "a") d$therapist else d$client; groups <- split(seq_len(nrow(d)), unit); draws <- if (site == "a") 500 else 4000
      asked <- c("indirect", "indirect (standardised)", "total", "total (standardised)")
      value <- function(x) {
        if (site == "a") return(both(fitted(model, x, FALSE, start), asked))
        m <- coef(lm(alliance ~ empathy + intake_level, x)); y <- coef(lm(outcome ~ alliance + empathy + intake_level, x)); v <- c(m[["empathy"]] * y[["alliance"]], m[["empathy"]] * y[["alliance"]] + y[["empathy"]])
        v <- c(v, v * sd(x$empathy) / sd(x$outcome)); setNames(v[c(1, 3, 2, 4)], asked)
      }
      set.seed(1); drawn <- t(replicate(draws, value(d[unlist(groups[sample(length(groups), replace = TRUE)]), ])))
      g <- length(groups); tail <- pnorm(sqrt(g / (g - 1)) * qt(.025, g - 1))
      out$bootstrap <- lapply(asked, function(a) list(name = a, low = quantile(drawn[, a], tail)[[1]], high = quantile(drawn[, a], 1 - tail)[[1]], sd = sd(drawn[, a]) * sqrt(g / (g - 1)), draws = draws))
    }
  }
  # The correlation of residuals and the E-value that explain the path from alliance to outcome away, from implied covariances.
  if (name == "main") {
    S <- lavInspect(fit, "cov.ov"); x <- c("empathy", "intake_level")
    left <- S[c("alliance", "outcome"), c("alliance", "outcome")] - S[c("alliance", "outcome"), x] %*% solve(S[x, x]) %*% S[x, c("alliance", "outcome")]
    beta <- out$estimate[["outcome ~ alliance (standardised)"]]; risk <- exp(.91 * abs(beta))
    out$sensitivity <- list(rho = cov2cor(left)[1, 2], e_value = risk + sqrt(risk * (risk - 1)))
  }
  out
}
# Differences of chi-squared, scaled as lavaan scales them (Satorra & Bentler, 2001), and the factor of Satorra (2000) from the naive and the
# robust errors of the larger model: of restrictions of parameters, or where models differ in their parameters of what both can imply.
restrictions <- list(no_direct = list(c(c = 1)), equal = list(c(a = 1, b = -1)), two_equal = list(c("f=~x2" = 1, "f=~x3" = -1), c("g=~y2" = 1, "g=~y3" = -1)))
factor_2000 <- function(small, large, name, model, d) {
  d <- d[rowSums(!is.na(d[variables_of(model)])) > 0, ]
  naive <- suppressWarnings(sem(model, d, missing = "fiml", fixed.x = FALSE, meanstructure = TRUE, start = parTable(large), em.h1.tol = 1e-11, em.h1.iter.max = 20000))
  V <- unclass(vcov(naive)); R <- unclass(vcov(large))
  if (!is.null(restrictions[[name]])) {
    A <- t(sapply(restrictions[[name]], function(r) { a <- setNames(numeric(ncol(V)), colnames(V)); a[names(r)] <- r; a }))
    return(sum(diag(solve(A %*% V %*% t(A), A %*% R %*% t(A)))) / nrow(A))
  }
  S <- unclass(lavInspect(large, "cov.ov")); p <- ncol(S); D <- lav_matrix_duplication(p); inverse <- solve(S)
  W <- lav_matrix_bdiag(inverse, .5 * t(D) %*% (inverse %x% inverse) %*% D); D1 <- lavInspect(large, "delta"); D0 <- lavInspect(small, "delta")
  stopifnot(identical(rownames(D1), rownames(D0)))
  G <- solve(t(D1) %*% W %*% D1, t(D1) %*% W %*% D0); H <- solve(V); J <- H %*% R %*% H
  (sum(diag(V %*% J)) - sum(diag(solve(t(G) %*% H %*% G, t(G) %*% J %*% G)))) / (ncol(D1) - ncol(D0))
}
compared <- function(site, pair) {
  d <- rows_of(site); fits <- lapply(pair, function(name) fitted(settings$models[[name]], d))
  test <- tryCatch({ t <- suppressWarnings(lavTestLRT(fits[[2]], fits[[1]], method = "satorra.bentler.2001")); list(chi2 = t[2, "Chisq diff"], df = t[2, "Df diff"], p_value = t[2, "Pr(>Chisq)"]) }, error = function(e) NULL)
  list(y2001 = test, plain = fitMeasures(fits[[1]], "chisq")[[1]] - fitMeasures(fits[[2]], "chisq")[[1]], factor_2000 = factor_2000(fits[[1]], fits[[2]], pair[1], settings$models[[pair[2]]], d))
}
result <- list(sites = list(), comparisons = list())
for (site in settings$sites) {
  result$sites[[site]] <- setNames(lapply(names(settings$models), function(name) one(site, name)), names(settings$models))
  for (i in seq_len(nrow(settings$nested))) if (all(settings$nested[i, ] %in% names(settings$models)))
    result$comparisons[[paste(c(site, settings$nested[i, ]), collapse = "/")]] <- compared(site, settings$nested[i, ])
}
cat(toJSON(result, auto_unbox = TRUE, digits = NA, na = "null", null = "null"))
