"""Solvers for ordinary differential equations: fixed and adaptive steps, first and second order, on tensors.

from pathline.ode import integrate, time_grid
solution = integrate(velocity, noise, time_grid(8), method="midpoint")    # 16 evaluations
"""

from pathline.ode.integrate import Moved, Solution, integrate, time_grid
from pathline.ode.schedule import OptimalSchedule, local_error_matrix, optimal_schedule, rho_grid
from pathline.ode.second_order import SecondOrderSolution, integrate_second_order
from pathline.ode.tableaus import DORMAND_PRINCE, EULER, FIXED_STEP, HEUN, HEUN3, MIDPOINT, RK4, Tableau

__all__ = [
    "DORMAND_PRINCE",
    "EULER",
    "FIXED_STEP",
    "HEUN",
    "HEUN3",
    "MIDPOINT",
    "RK4",
    "Moved",
    "OptimalSchedule",
    "SecondOrderSolution",
    "Solution",
    "Tableau",
    "integrate",
    "integrate_second_order",
    "local_error_matrix",
    "optimal_schedule",
    "rho_grid",
    "time_grid",
]
