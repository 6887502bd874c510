# What Cordon calls of pyspark, which is installed only where records lie in Spark.
from typing import Any

class SparkSession:
    builder: Any
    @staticmethod
    def getActiveSession() -> Any: ...
