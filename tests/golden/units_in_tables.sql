SELECT
  "t1"."day" AS "key_0",
  "t1"."role" AS "key_1",
  COUNT(*) AS "measure_0"
FROM (
  SELECT
    *
  FROM "snapshot" AS "t0"
  WHERE
    "t0"."rank_" <= 3
    AND "t0"."day" IS NOT NULL
    AND COALESCE("t0"."day", 0) >= 20089
    AND COALESCE("t0"."day", 0) <= 20093
) AS "t1"
GROUP BY
  1,
  2;
SELECT
  "t1"."day" AS "key_0",
  "t1"."role" AS "key_1",
  COUNT(DISTINCT "t1"."unit_") FILTER(WHERE
    "t1"."loss" IS NULL) AS "measure_0"
FROM (
  SELECT
    *
  FROM "snapshot" AS "t0"
  WHERE
    "t0"."rank_" <= 3
    AND "t0"."day" IS NOT NULL
    AND COALESCE("t0"."day", 0) >= 20089
    AND COALESCE("t0"."day", 0) <= 20093
) AS "t1"
GROUP BY
  1,
  2;
SELECT
  "t1"."role" AS "key_1",
  COUNT(*) AS "measure_0"
FROM (
  SELECT
    *
  FROM "snapshot" AS "t0"
  WHERE
    "t0"."rank_" <= 3
    AND "t0"."day" IS NOT NULL
    AND COALESCE("t0"."day", 0) >= 20089
    AND COALESCE("t0"."day", 0) <= 20093
) AS "t1"
GROUP BY
  1;
SELECT
  "t1"."role" AS "key_1",
  COUNT(DISTINCT "t1"."unit_") FILTER(WHERE
    "t1"."loss" IS NULL) AS "measure_0"
FROM (
  SELECT
    *
  FROM "snapshot" AS "t0"
  WHERE
    "t0"."rank_" <= 3
    AND "t0"."day" IS NOT NULL
    AND COALESCE("t0"."day", 0) >= 20089
    AND COALESCE("t0"."day", 0) <= 20093
) AS "t1"
GROUP BY
  1;
SELECT
  COUNT(*) AS "measure_0"
FROM (
  SELECT
    *
  FROM "snapshot" AS "t0"
  WHERE
    "t0"."rank_" <= 3
    AND "t0"."day" IS NOT NULL
    AND COALESCE("t0"."day", 0) >= 20089
    AND COALESCE("t0"."day", 0) <= 20093
) AS "t1";
SELECT
  COUNT(DISTINCT "t1"."unit_") FILTER(WHERE
    "t1"."loss" IS NULL) AS "measure_0"
FROM (
  SELECT
    *
  FROM "snapshot" AS "t0"
  WHERE
    "t0"."rank_" <= 3
    AND "t0"."day" IS NOT NULL
    AND COALESCE("t0"."day", 0) >= 20089
    AND COALESCE("t0"."day", 0) <= 20093
) AS "t1";
