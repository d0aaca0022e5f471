# Reference values of reliability by psych, lavaan, semTools and metafor.
# Usage: Rscript reliability.R FOLDER   (FOLDER holds rows.csv, small.csv, sai.csv)   writes JSON to standard output
suppressMessages({library(jsonlite); library(psych); library(lavaan); library(metafor); library(semTools)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
suppressMessages(source(file.path(here, "schmid_leiman.R")))
folder <- commandArgs(TRUE)[1]
rows <- read.csv(file.path(folder, "rows.csv"))
small <- read.csv(file.path(folder, "small.csv"))
sai <- read.csv(file.path(folder, "sai.csv"))
quiet <- function(x) suppressWarnings(suppressMessages(x))
syntax <- function(names) paste("f =~", paste(names, collapse = " + "))
one_factor <- function(s, n, ...) quiet(cfa(syntax(colnames(s)), sample.cov = s, sample.nobs = n, std.lv = TRUE, ...))

items <- paste0("i", 1:12)
second <- paste0("j", 1:6)
complete <- na.omit(rows)
agree <- na.omit(psych::bfi[, paste0("A", 1:5)])
agree$A1 <- 7 - agree$A1
first <- subset(sai, study == "AGES" & time == 1)[, 4:23]
turned <- c("calm", "secure", "at.ease", "rested", "comfortable", "confident", "relaxed", "content", "joyful", "pleasant")
first[turned] <- 5 - first[turned]
school <- HolzingerSwineford1939
data <- list(simulated = complete[items], agreeableness = agree, anxiety = na.omit(first), abilities = school[paste0("x", 1:9)],
             textual = school[paste0("x", 4:6)], visual = school[paste0("x", 1:3)])

one <- function(d) {
  s <- cov(d); n <- nrow(d)
  # lavaan's default optimiser stops with derivatives of 2e-5.
  fit <- one_factor(s, n, optim.method = "BFGS", control = list(reltol = 1e-16, maxit = 5000))
  stopifnot(lavInspect(fit, "converged"))
  a <- quiet(psych::alpha(as.data.frame(d), check.keys = FALSE))
  feldt <- a$feldt
  implied <- fitted(fit)$cov
  class(implied) <- "matrix"
  named <- setNames(paste0("l", seq_along(colnames(s))), colnames(s))
  labelled <- paste0("f =~ ", paste0(named, "*", names(named), collapse = " + "), "\n",
                     paste0(names(named), " ~~ e", seq_along(named), "*", names(named), collapse = "\n"), "\n",
                     "omega := (", paste(named, collapse = "+"), ")^2/((", paste(named, collapse = "+"), ")^2+",
                     paste0("e", seq_along(named), collapse = "+"), ")")
  exact <- quiet(cfa(labelled, sample.cov = implied, sample.nobs = n, std.lv = TRUE, likelihood = "wishart"))
  error <- subset(parameterEstimates(exact), lhs == "omega")
  k <- ncol(d); j <- rep(1, k); total <- sum(s); trace <- sum(diag(s))
  van_zyl <- 2 * k^2 / ((k - 1)^2 * total^3) * (total * (sum(diag(s %*% s)) + trace^2) - 2 * trace * drop(t(j) %*% s %*% s %*% j))
  list(covariance = unname(s), n = n, alpha = a$total$raw_alpha, mean_r = a$total$average_r, item_rest = a$item.stats$r.drop,
       feldt = c(feldt$lower.ci[[1]], feldt$upper.ci[[1]]),
       loadings = as.numeric(lavInspect(fit, "est")$lambda), residuals = diag(lavInspect(fit, "est")$theta),
       chisq = fitMeasures(fit, "chisq")[[1]], omega = quiet(reliability(fit))["omega", 1],
       omega_again = quiet(compRelSEM(fit, obs.var = FALSE))[[1]], implied = unname(implied), omega_exact = error$est,
       omega_exact_se = error$se, van_zyl = van_zyl / (n - 1))
}

schmid_leiman <- function(d, f) {
  r <- cor(d)
  o <- quiet(omega(r, f, plot = FALSE, flip = FALSE))
  exact <- schmid_leiman_exact(r, f)
  list(covariance = unname(cov(d)), factors = f, psych = list(omega_h = o$omega_h, omega_t = o$omega.tot, ecv = o$ECV,
         general = unname(o$schmid$sl[, 1])), omega_h = exact$omega_h, omega_t = exact$omega_t, general = exact$general)
}

# A bifactor model and a model of correlated factors: hand algebra on lavaan's estimates.
groups <- split(items, rep(1:3, each = 4))
bifactor <- quiet(cfa(paste0("g =~ ", paste(items, collapse = " + "), "\n", paste0("f", 1:3, " =~ ", sapply(groups, paste, collapse = " + "),
                  collapse = "\n")), complete, std.lv = TRUE, orthogonal = TRUE))
stopifnot(lavInspect(bifactor, "converged"))
e <- lavInspect(bifactor, "est"); l <- unclass(e$lambda); theta <- diag(e$theta)
l <- l[items, c("g", "f1", "f2", "f3")]; theta <- theta[items]
implied <- l %*% t(l) + diag(theta)
own <- groups[[2]]
std <- unclass(lavInspect(bifactor, "std")$lambda)[items, c("g", "f1", "f2", "f3")]
correlated <- quiet(cfa(paste0("f", 1:3, " =~ ", sapply(groups, paste, collapse = " + "), collapse = "\n"), complete))
ce <- lavInspect(correlated, "est")
model <- list(loadings = unname(l), residuals = unname(theta), standardised = unname(std), omega_h = sum(l[, 1])^2 / sum(implied),
              omega_t = 1 - sum(theta) / sum(implied), omega_s = 1 - sum(theta[own]) / sum(implied[own, own]),
              omega_hs = sum(l[own, "f2"])^2 / sum(implied[own, own]), ecv = sum(std[, 1]^2) / sum(std^2),
              puc = 1 - sum(choose(lengths(groups), 2)) / choose(12, 2),
              correlated = list(loadings = unname(unclass(ce$lambda)), residuals = unname(diag(ce$theta)), phi = unname(unclass(ce$psi)),
                                omega = as.numeric(quiet(compRelSEM(correlated, obs.var = FALSE, return.total = TRUE)))))

# Leaving out each therapist in turn, and resampling them.
therapists <- unique(complete$therapist); G <- length(therapists)
both <- function(d) {
  fit <- one_factor(cov(d[items]), nrow(d)); e <- lavInspect(fit, "est")
  sums <- sum(e$lambda)^2
  c(alpha = plain_alpha(d[items]), omega = sums / (sums + sum(diag(e$theta))), second = plain_alpha(d[second]))
}
plain_alpha <- function(d) { s <- cov(d); k <- ncol(d); k / (k - 1) * (1 - sum(diag(s)) / sum(s)) }
left_out <- t(sapply(therapists, function(one) log(1 - both(complete[complete$therapist != one, ]))))
left_out <- cbind(left_out, difference = left_out[, "second"] - left_out[, "alpha"])
jackknife <- sqrt((G - 1) / G * colSums(scale(left_out, scale = FALSE)^2))
set.seed(1)
by_therapist <- split(seq_len(nrow(complete)), complete$therapist)
values <- as.matrix(complete[c(items, second)])
drawn <- replicate(4000, {
  d <- values[unlist(by_therapist[sample(G, G, replace = TRUE)]), ]
  log(1 - c(plain_alpha(d[, items]), plain_alpha(d[, second])))
})
alphas <- c(plain_alpha(complete[items]), plain_alpha(complete[second]))
r <- cor(rowSums(complete[items]), rowSums(complete[second]))
n <- nrow(complete)
t <- (alphas[1] - alphas[2]) * sqrt(n - 2) / sqrt(4 * (1 - alphas[1]) * (1 - alphas[2]) * (1 - r^2))
clustered <- list(n = n, therapists = G, jackknife = as.list(jackknife), bootstrap = c(apply(drawn, 1, sd), sd(drawn[2, ] - drawn[1, ])),
                  alphas = alphas, feldt_t = t, feldt_p = 2 * pt(-abs(t), n - 2), r = r)

# Many small samples, some of them without a proper solution; the lowest of several starts, since lavaan's own can end in a local minimum.
starts <- function(s, n) {
  fits <- list(try(one_factor(s, n), silent = TRUE))
  for (start in 1:6) {
    table <- parTable(fits[[1]])
    table$est[table$free > 0] <- runif(sum(table$free > 0), .2, 1)
    fits <- c(fits, list(try(one_factor(s, n, start = table), silent = TRUE)))
  }
  fits <- Filter(function(fit) !inherits(fit, "try-error") && lavInspect(fit, "converged"), fits)
  if (length(fits)) fits[[which.min(sapply(fits, fitMeasures, "chisq"))]]
}
samples <- lapply(split(small[paste0("i", 1:5)], small$sample), function(d) {
  s <- cov(d); fit <- starts(s, nrow(d))
  if (is.null(fit)) return(list(covariance = unname(s), converged = FALSE))
  e <- lavInspect(fit, "est")
  list(covariance = unname(s), converged = TRUE, smallest = min(diag(e$theta)), chisq = fitMeasures(fit, "chisq")[[1]],
       omega = sum(e$lambda)^2 / (sum(e$lambda)^2 + sum(diag(e$theta))), negative = any(e$lambda * sign(sum(e$lambda)) < 0))
})
abt <- escalc(measure = "ABT", ai = c(.8, .93, .7), mi = c(12, 36, 4), ni = c(100, 60, 31))
ceiling <- as.numeric(prop.test(7, 50, correct = FALSE)$conf.int)
result <- list(scales = lapply(data, one),
               schmid_leiman = list(abilities = schmid_leiman(data$abilities, 3), simulated = schmid_leiman(data$simulated, 3),
                                    personality = schmid_leiman(na.omit(psych::bfi[, 1:25]), 5)),
               model = model, clustered = clustered, samples = unname(samples), ceiling = ceiling, abt = list(yi = as.numeric(abt$yi), vi = as.numeric(abt$vi)))
cat(toJSON(result, digits = I(15), auto_unbox = TRUE, na = "null"))
