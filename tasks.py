from ops.tasks import namespace

ns = namespace()
