# Describes invented clients and their therapists by base R, from the raw values: every site, and all sites in one list.
suppressPackageStartupMessages(library(jsonlite))
folder <- commandArgs(trailingOnly = TRUE)[1]
clients <- read.csv(file.path(folder, "clients.csv"), na.strings = "")
therapists <- read.csv(file.path(folder, "therapists.csv"))

numbers <- function(x) list(n = sum(!is.na(x)), mean = mean(x, na.rm = TRUE), sd = sd(x, na.rm = TRUE))

described <- function(people, staff) {
  known <- people[!is.na(people$age), ]
  caseload <- as.vector(table(paste(people$site, people$therapist)))
  # Categories that nobody of a site is in count as well.
  gender <- prop.table(table(factor(people$gender, levels = sort(unique(clients$gender)))))
  list(
    age = c(numbers(people$age), list(
      missing = mean(is.na(people$age)), therapists = length(unique(paste(known$site, known$therapist)))
    )),
    caseload = numbers(caseload), years = numbers(staff$years),
    gender = as.list(gender), gender_known = sum(!is.na(people$gender))
  )
}

sites <- unique(clients$site)
found <- lapply(setNames(sites, sites), function(site) described(clients[clients$site == site, ], therapists[therapists$site == site, ]))
found[["(pooled)"]] <- described(clients, therapists)
known <- clients[!is.na(clients$age), ]
groups <- do.call(rbind, lapply(split(known$age, known$site), function(x) data.frame(n = length(x), mean = mean(x), sd = sd(x))))
squares <- summary(aov(age ~ site, data = known))[[1]][["Sum Sq"]]
cat(toJSON(list(sites = found, anova = as.list(groups), sums_of_squares = squares), digits = NA, auto_unbox = TRUE))
