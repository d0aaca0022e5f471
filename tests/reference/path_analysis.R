# Reference values of path models by lavaan, of cluster-robust correlations, and of the BCa interval by boot.
# Usage: Rscript path_analysis.R FOLDER   (FOLDER holds rows.csv, models.json, draws.csv, left_out.csv)   writes JSON to standard output
suppressMessages({library(lavaan); library(jsonlite); library(boot)})
folder <- commandArgs(TRUE)[1]
rows <- read.csv(file.path(folder, "rows.csv"))
models <- fromJSON(file.path(folder, "models.json"))

named <- function(table, column) {
  name <- ifelse(table$op == ":=", table$lhs, paste0(table$lhs, table$op, table$rhs))
  keep <- table$op != "~1"
  as.list(setNames(table[[column]], name)[keep])
}
both <- function(fit) {
  raw <- parameterEstimates(fit)
  standard <- standardizedSolution(fit)
  list(estimate = named(raw, "est"), std_error = named(raw, "se"), standardized = named(standard, "est.std"),
       std_error_standardized = named(standard, "se"))
}

result <- list(models = list())
for (name in names(models)) {
  syntax <- models[[name]]
  plain <- sem(syntax, rows)
  cov <- cov(rows[lavNames(plain)])
  wanted <- c("chisq", "df", "pvalue", "baseline.chisq", "baseline.df", "cfi", "tli", "rmsea", "rmsea.ci.lower", "rmsea.ci.upper", "srmr")
  result$models[[name]] <- list(
    cluster = both(suppressWarnings(sem(syntax, rows, cluster = "therapist"))),
    cluster_random_x = both(suppressWarnings(sem(syntax, rows, cluster = "therapist", fixed.x = FALSE))),
    expected = both(plain),
    summary = both(sem(syntax, sample.cov = cov, sample.nobs = nrow(rows))),
    fit = as.list(unclass(fitMeasures(plain, wanted))),
    r2 = as.list(unclass(lavInspect(plain, "r2")))
  )
}

# A correlation and its cluster-robust standard error: the standardised covariance of a saturated model.
pair <- suppressWarnings(sem("x ~~ m", rows, cluster = "therapist", meanstructure = TRUE))
part <- suppressWarnings(sem("x + m ~ z + y\nx ~~ m", rows, cluster = "therapist", fixed.x = FALSE))
take <- function(fit) {
  one <- subset(standardizedSolution(fit), op == "~~" & lhs == "x" & rhs == "m")
  list(r = one$est.std, se_r = one$se)
}
result$correlation <- list(plain = take(pair), partial = take(part), independent = as.numeric(cor.test(rows$x, rows$m)$conf.int))

# Leaving out each therapist in turn: (G - 1) / G times the sum of squared deviations from the mean.
therapists <- unique(rows$therapist)
G <- length(therapists)
jackknife <- function(values) as.matrix((G - 1) / G * crossprod(scale(t(values), scale = FALSE)))
left_out <- lapply(names(models), function(name) {
  fits <- lapply(therapists, function(one) both(sem(models[[name]], rows[rows$therapist != one, ], fixed.x = FALSE)))
  spread <- function(what) {
    values <- sapply(fits, function(fit) unlist(fit[[what]]))
    as.list(setNames(sqrt(diag(jackknife(values))), names(fits[[1]][[what]])))
  }
  list(std_error = spread("estimate"), std_error_standardized = spread("standardized"))
})
without <- function(data, f) sapply(therapists, function(one) f(data[data$therapist != one, ]))
three <- without(rows, function(d) atanh(c(cor(d$x, d$m), cor(d$x, d$y), cor(d$z, d$y2))))
holes <- rows[(seq_len(nrow(rows)) - 1) %% 7 != 0, ]
partial <- function(d) atanh(cor(resid(lm(x ~ z + y, d)), resid(lm(m ~ z + y, d))))
result$jackknife <- list(
  models = setNames(left_out, names(models)),
  correlations = unname(jackknife(three)),
  with_holes = sqrt(c(jackknife(t(without(holes, function(d) atanh(cor(d$x, d$m))))))),
  partial = sqrt(c(jackknife(t(without(rows, partial)))))
)

# Resampling whole therapists, refitted by least squares in a loop.
set.seed(1)
groups <- split(seq_len(nrow(rows)), rows$therapist)
design <- as.matrix(cbind(1, rows[c("x", "z", "m")]))
indirect <- replicate(5000, {
  again <- unlist(groups[sample(length(groups), replace = TRUE)])
  lm.fit(design[again, 1:3], rows$m[again])$coefficients[[2]] * lm.fit(design[again, ], rows$y[again])$coefficients[[4]]
})
result$bootstrap <- list(draws = length(indirect), sd = sd(indirect), quantiles = as.numeric(quantile(indirect, c(.025, .975))))

draws <- read.csv(file.path(folder, "draws.csv"))$value
left_out <- read.csv(file.path(folder, "left_out.csv"))$value
estimate <- 0.95
influence <- (length(left_out) - 1) * (mean(left_out) - left_out)
made <- list(t0 = estimate, t = matrix(draws), R = length(draws), data = seq_along(left_out), sim = "ordinary", stype = "i",
             strata = rep(1, length(left_out)), weights = rep(1 / length(left_out), length(left_out)), call = quote(boot()))
class(made) <- "boot"
result$bca <- boot.ci(made, type = "bca", L = influence)$bca[4:5]
cat(toJSON(result, digits = NA, auto_unbox = TRUE, na = "null"))
