-- The newest hours of the exchange that are not after the end, whole days, oldest first. A day has seven bars, from
-- half past nine to half past three in New York, Monday to Friday; holidays are not left out.
--
-- The temporary table `request` has one row: rows, symbols, seed, end_time (UTC).
INSERT INTO mltrading_lab.calendar (bar_no, day_no, slot, timestamp)
WITH
length AS (
    SELECT
        end_time,
        date_trunc('day', end_time) AS last_day,
        (rows + symbols - 1) / symbols AS bars
    FROM request
),

hours AS (
    SELECT
        d.day,
        s.slot,
        (d.day::date + time '09:30' + s.slot * interval '1 hour')
        AT TIME ZONE 'America/New_York' AT TIME ZONE 'UTC' AS timestamp
    FROM length AS l
    CROSS JOIN
        generate_series(l.last_day - (l.bars / 5 + 14) * interval '1 day', l.last_day, interval '1 day') AS d (day)
    CROSS JOIN generate_series(0, 6) AS s (slot)
    WHERE extract(ISODOW FROM d.day) < 6
),

-- The oldest day that is needed is taken whole, so that a day's path does not depend on where the series begins.
needed AS (
    SELECT h.day
    FROM (
        SELECT
            hours.day,
            row_number() OVER (ORDER BY hours.timestamp DESC) AS back
        FROM hours
        WHERE hours.timestamp <= (SELECT request.end_time FROM request)
    ) AS h
    INNER JOIN length AS l ON h.back = l.bars
)

SELECT
    row_number() OVER (ORDER BY h.timestamp) - 1,
    dense_rank() OVER (ORDER BY h.day) - 1,
    h.slot,
    h.timestamp
FROM hours AS h
INNER JOIN needed AS n ON h.day >= n.day
INNER JOIN length AS l ON h.timestamp <= l.end_time;
