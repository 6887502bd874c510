# What Cordon calls of pyspark, which is installed only where records lie in Spark.
