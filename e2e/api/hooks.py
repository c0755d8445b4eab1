"""What the reference cannot say: streams of what has not ended do not end."""

import schemathesis


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    # job 1 has ended
    stream = context.operation is not None and context.operation.path.endswith("/events")
    if stream and path_parameters and "job" in path_parameters:
        job = str(path_parameters["job"])
        if job.isdigit() or len(job) == 36:
            path_parameters["job"] = "1"
    return path_parameters
