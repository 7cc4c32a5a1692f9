"""Backup put to work, and to the test.

    trial     open something from the backup copy, in a home that lives in memory and is gone afterwards
    objects   sealed objects and manifests, to the backup place and back

A backup that nobody ever opened is a hope. `trial.try_copy` does what a restore on a new machine does, all the way to decrypting an
asset, and changes nothing but the record that it was done.
"""
